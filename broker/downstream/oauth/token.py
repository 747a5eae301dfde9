"""``POST /oauth/token``: the endpoint owns the phases, each grant fills in what differs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.downstream.oauth.endpoint import NO_STORE, OAuthCall, OAuthEndpoint
from broker.errors import OAuthError

Grant = Callable[[OAuthCall], Awaitable[dict[str, Any]]]
"""What a grant does: read its parameters and answer the members of RFC 6749 §5.1."""

PATH: Final = "/oauth/token"


class TokenEndpoint:
    """Picks the grant by ``grant_type``."""

    def __init__(self, endpoint: OAuthEndpoint, grants: Mapping[str, Grant]) -> None:
        self._endpoint = endpoint
        self._grants = grants

    def routes(self) -> list[Route]:
        """The route."""
        return [self._endpoint.route(PATH, self._token)]

    async def _token(self, call: OAuthCall) -> Response:
        grant = self._grants.get(call.required("grant_type"))
        if grant is None:
            raise OAuthError("unsupported_grant_type", "this server has no such grant")
        return JSONResponse(await grant(call), headers=NO_STORE)
