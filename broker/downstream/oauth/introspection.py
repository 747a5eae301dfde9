"""``POST /oauth/introspect`` (RFC 7662): what a broker token or a reference stands for, told to whom it belongs."""

from typing import Any, Final

from starlette.responses import Response

from broker.access.device_sessions import DeviceSessions
from broker.access.references import References
from broker.access.tokens import BrokerTokens
from broker.downstream.oauth.answers import Introspected
from broker.downstream.oauth.endpoint import OAUTH, OAuthCall, OAuthEndpoint
from broker.downstream.oauth.forms import TokenForm
from broker.downstream.operation import DeclaredRoute, Operation
from broker.models.ids import digest

PATH: Final = "/oauth/introspect"

_INTROSPECT: Final = Operation(
    face=OAUTH,
    name="introspect",
    method="POST",
    path=PATH,
    tag="OAuth",
    summary="What a broker token or a reference stands for (RFC 7662).",
    body=TokenForm,
    answer=Introspected,
)


class IntrospectionEndpoint:
    """Introspection. Unknown, over and foreign tokens answer the same."""

    def __init__(
        self,
        endpoint: OAuthEndpoint,
        tokens: BrokerTokens,
        references: References,
        devices: DeviceSessions,
        issuer: str,
    ) -> None:
        self._devices = devices
        self._endpoint = endpoint
        self._tokens = tokens
        self._references = references
        self._issuer = issuer

    def routes(self) -> list[DeclaredRoute]:
        """The route."""
        return [self._endpoint.route(_INTROSPECT, self._introspect)]

    async def _introspect(self, call: OAuthCall) -> Response:
        token = call.required("token")
        look = {"ref": self._reference, "brt": self._refresh_token}.get(token.partition("_")[0], self._token)
        members = await look(call, token)
        if members is None:
            return call.answer(Introspected(active=False))
        return call.answer(Introspected(active=True, iss=self._issuer, **members))

    async def _reference(self, call: OAuthCall, token: str) -> dict[str, Any] | None:
        return await self._references.introspect(call.caller, token)

    async def _token(self, call: OAuthCall, token: str) -> dict[str, Any] | None:
        grant = await self._tokens.find(digest(token))
        if grant is None or grant.client_id != call.client.client_id or not call.client.honours(grant.tokens_from):
            return None
        return {
            "token_type": "Bearer",
            "client_id": grant.client_id,
            "sub": grant.subject or grant.client_id,
            "scope": " ".join(grant.scopes),
            "iat": grant.issued_at // 1000,
            "exp": grant.expires_at // 1000,
            "connection_id": grant.connection_id,
        }

    async def _refresh_token(self, call: OAuthCall, token: str) -> dict[str, Any] | None:
        session = await self._devices.current(call.client, token)
        if session is None:
            return None
        return {
            "token_type": "refresh_token",
            "client_id": session.client_id,
            "scope": " ".join(session.scopes),
            "iat": session.created_at // 1000,
            "exp": session.expires_at // 1000,
            "connection_id": session.connection_id,
        }
