"""The routes of the practice provider; errors become answers here, and only loopback is answered at all."""

from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.sandbox.authorize import AuthorizeEndpoint
from broker.sandbox.clients import is_loopback
from broker.sandbox.control import Control
from broker.sandbox.device import DeviceEndpoints
from broker.sandbox.errors import OAuthError, error_answer
from broker.sandbox.guarded import Guarded
from broker.sandbox.guises.routes import Guises
from broker.sandbox.installations import Installations
from broker.sandbox.metadata import MetadataEndpoint
from broker.sandbox.pages import PageError, error_page
from broker.sandbox.provider import Provider
from broker.sandbox.resources import Resources
from broker.sandbox.streams import Streams
from broker.sandbox.token import TokenEndpoint
from broker.sandbox.tokens import TokensEndpoints


def create_app(provider: Provider) -> Starlette:
    """The ASGI application that serves ``provider``."""
    metadata, authorize = MetadataEndpoint(provider), AuthorizeEndpoint(provider)
    device = DeviceEndpoints(provider)
    guarded, installations, streams = Guarded(provider), Installations(provider), Streams(provider)
    tokens, resources, control = TokensEndpoints(provider), Resources(provider), Control(provider)
    return Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", metadata.get, methods=["GET"]),
            Route("/.well-known/openid-configuration", metadata.get, methods=["GET"]),
            Route("/authorize", authorize.get, methods=["GET"]),
            Route("/authorize", authorize.post, methods=["POST"]),
            Route("/device_authorization", device.authorize, methods=["POST"]),
            Route("/device", device.get, methods=["GET"]),
            Route("/device", device.post, methods=["POST"]),
            Route("/token", TokenEndpoint(provider).post, methods=["POST"]),
            Route("/introspect", tokens.introspect, methods=["POST"]),
            Route("/revoke", tokens.revoke, methods=["POST"]),
            Route("/whoami", resources.whoami, methods=["GET"]),
            Route("/api/messages", resources.list_messages, methods=["GET"]),
            Route("/api/messages", resources.send_message, methods=["POST"]),
            Route("/api/app/installations/{installation}/access_tokens", installations.access_tokens, methods=["POST"]),
            Route("/keys/{guard}/whoami", guarded.whoami, methods=["GET"]),
            Route("/keys/{guard}/messages", guarded.messages, methods=["GET", "POST"]),
            *streams.routes(),
            *Guises(provider).routes(),
            Route("/counters", control.counters, methods=["GET"]),
            Route("/control", control.change, methods=["POST"]),
            Route("/control/keys", control.make_key, methods=["POST"]),
            Route("/control/grants", control.mint, methods=["POST"]),
        ],
        middleware=[Middleware(LoopbackHostOnly)],
        exception_handlers={OAuthError: _oauth_error, PageError: _page_error},
    )


class LoopbackHostOnly:
    """Refuses requests for any other host name: a name that was rebound to 127.0.0.1 gets nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _names_loopback(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("the practice provider answers on loopback only", status_code=400)
        await refusal(scope, receive, send)


def _names_loopback(hosts: list[str]) -> bool:
    try:
        return len(hosts) == 1 and is_loopback(urlsplit(f"//{hosts[0]}").hostname)
    except ValueError:
        return False


async def _oauth_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, OAuthError):
        raise error
    return error_answer(error)


async def _page_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, PageError):
        raise error
    return error_page(error)
