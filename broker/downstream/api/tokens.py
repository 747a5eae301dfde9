"""``/v1/connections/{id}/token``: the hot path."""

from starlette.responses import Response

from broker.connections.tokens import Tokens
from broker.downstream.api.bodies import FetchToken
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import TokenView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    ReauthRequired,
)
from broker.models.ids import is_id
from broker.observe import metrics
from broker.vault.release import Release

_SCOPE = "tokens:read"
_FETCH = Operation(
    face=JSON,
    name="fetch_token",
    method="POST",
    path="/v1/connections/{connection_id}/token",
    tag="Tokens",
    summary="Fetch an access token that is fresh enough; it is refreshed first if need be.",
    scope=_SCOPE,
    body=FetchToken,
    answer=TokenView,
    refuses=(NotFound, Forbidden, Conflict, ReauthRequired, ProviderError, ProviderUnavailable),
)


class TokenRoutes:
    """Access tokens."""

    def __init__(self, gate: Gate, tokens: Tokens) -> None:
        self._gate = gate
        self._tokens = tokens

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [self._gate.route(_FETCH, self._fetch)]

    async def _fetch(self, call: Call) -> Response:
        connection_id = call.path("connection_id")
        if not is_id("con", connection_id):
            raise NotFound("no such connection")
        try:
            body = call.body(FetchToken)
        except InvalidRequest:
            # Existence is judged before the body; on the way that succeeds the release does both in one step.
            await self._gate.connection(call, _SCOPE)
            raise
        release = await self._tokens.fetch(
            connection_id,
            reach=call.caller.reach,
            event=call.event("token.released", connection_id),
            min_ttl=body.min_ttl,
            refused_generation=body.stale_generation,
        )
        metrics.released(release.provider)
        # RFC 6749 §5.1: a token is cached by nobody, however old its cache.
        return call.answer(token_view(release), headers={"Pragma": "no-cache"})


def token_view(release: Release) -> TokenView:
    """The answer that carries ``release``; ``expires_in`` is left out where the token has no end."""
    return TokenView(
        access_token=release.access_token,
        token_type=release.token_type,
        expires_in=release.expires_in,
        scope=" ".join(release.scopes),
        connection_id=release.connection_id,
        fallback_for=release.fallback_for,
        generation=release.generation,
    )
