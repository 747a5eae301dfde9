"""``/v1/connections/{id}/authorization``: what to put on a request to the provider's API, of whatever kind."""

from contextlib import suppress

from starlette.responses import Response

from broker.access.policy import permit_request
from broker.connections.api_calls import ApiCalls, Elsewhere
from broker.connections.api_places import ApiPlace
from broker.connections.tokens import Moved
from broker.downstream.api.bodies import AuthorizeRequest
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import AuthorizationView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import Conflict, Forbidden, NotFound, ProviderError, ProviderUnavailable, ReauthRequired
from broker.upstream import api_address
from broker.upstream.schemes.request import EMPTY_SHA256, Unsigned

_SCOPE = "tokens:read"
_AUTHORIZE = Operation(
    face=JSON,
    name="authorize_request",
    method="POST",
    path="/v1/connections/{connection_id}/authorization",
    tag="Tokens",
    summary="What to put on a request to the provider's API, so that it counts as the connection's.",
    scope=_SCOPE,
    body=AuthorizeRequest,
    answer=AuthorizationView,
    refuses=(NotFound, Forbidden, Conflict, ReauthRequired, ProviderError, ProviderUnavailable),
)


class AuthorizationRoutes:
    """Requests that callers send themselves."""

    def __init__(self, gate: Gate, calls: ApiCalls) -> None:
        self._gate = gate
        self._calls = calls

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [self._gate.route(_AUTHORIZE, self._authorize)]

    async def _authorize(self, call: Call) -> Response:
        reach = call.caller.reach
        place = self._calls.known_place(call.path("connection_id"), reach)
        # What is remembered only ever says yes: a no, be it an allow list's, is said by what was read.
        if place is not None and reach.allow is None:
            with suppress(Moved, Elsewhere):
                return await self._authorized(call, place)
        place = self._calls.place_of(await self._gate.connection(call, _SCOPE))
        return await self._authorized(call, place)

    async def _authorized(self, call: Call, place: ApiPlace) -> Response:
        body = call.body(AuthorizeRequest)
        request = Unsigned(
            body.method.upper(),
            body.url,
            {name.lower(): value for name, value in body.headers.items()},
            # Of a body there is only its digest; without one, the request has none.
            b"" if body.body_sha256 is None else None,
            (body.body_sha256 or EMPTY_SHA256).lower(),
        )
        if call.caller.reach.allow is not None:
            permit_request(call.caller, request.method, api_address.path_below(request.url, place.base) or "")
        signature, release = await self._calls.authorize(
            place, request, reach=call.caller.reach, event=call.event("authorization.released", place.connection_id)
        )
        view = AuthorizationView(
            headers=dict(signature.headers),
            query=dict(signature.query),
            connection_id=release.connection_id,
            fallback_for=release.fallback_for,
            generation=release.generation,
            expires_in=release.expires_in,
        )
        # RFC 6749 §5.1: it is cached by nobody, however old its cache.
        return call.answer(view, headers={"Pragma": "no-cache"})
