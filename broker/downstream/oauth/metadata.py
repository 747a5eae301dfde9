"""``GET /.well-known/oauth-authorization-server`` (RFC 8414): what this server is and can do."""

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.downstream.oauth import introspection, revocation, token
from broker.models.access import CLIENT_SCOPES

PATH: Final = "/.well-known/oauth-authorization-server"
_METHODS: Final = ["client_secret_basic", "client_secret_post"]


def metadata_route(issuer: str, grant_types: Iterable[str]) -> Route:
    """The metadata of the server at ``issuer``."""
    document = {
        "issuer": issuer,
        "token_endpoint": issuer + token.PATH,
        "token_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint": issuer + introspection.PATH,
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint": issuer + revocation.PATH,
        "revocation_endpoint_auth_methods_supported": _METHODS,
        "grant_types_supported": list(grant_types),
        # Required by RFC 8414 §2, and empty: there is no authorization endpoint for browsers here.
        "response_types_supported": [],
        "scopes_supported": list(CLIENT_SCOPES),
    }

    async def metadata(_request: Request) -> Response:
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=300"})

    return Route(PATH, metadata, methods=["GET"], name=f"GET {PATH}")
