"""``POST /oauth/revoke`` (RFC 7009): broker tokens and references are taken back by whom they belong to.

A machine's token of either kind takes the other one along, and with them its login: it is logged out.
"""

from typing import Final

from starlette.responses import Response

from broker.access.authentication import Authenticator
from broker.access.device_sessions import DeviceSessions
from broker.access.limits import Limits
from broker.access.references import References
from broker.access.tokens import BrokerTokens
from broker.downstream.oauth.endpoint import OAUTH, OAuthCall, OAuthEndpoint
from broker.downstream.oauth.forms import TokenForm
from broker.downstream.operation import DeclaredRoute, Operation

PATH: Final = "/oauth/revoke"

_REVOKE: Final = Operation(
    face=OAUTH,
    name="revoke",
    method="POST",
    path=PATH,
    tag="OAuth",
    summary="Take a broker token or a reference back (RFC 7009).",
    description="The answer is the same whether or not there was something to take back.",
    body=TokenForm,
)


class RevocationEndpoint:
    """Revocation. The answer is 200 whether or not there was something to revoke (RFC 7009 §2.2)."""

    def __init__(
        self,
        endpoint: OAuthEndpoint,
        authenticator: Authenticator,
        tokens: BrokerTokens,
        references: References,
        devices: DeviceSessions,
        limits: Limits,
    ) -> None:
        self._endpoint = endpoint
        self._authenticator = authenticator
        self._tokens = tokens
        self._references = references
        self._devices = devices
        self._limits = limits

    def routes(self) -> list[DeclaredRoute]:
        """The route."""
        return [self._endpoint.route(_REVOKE, self._revoke, public=True)]

    async def _revoke(self, call: OAuthCall) -> Response:
        # token_type_hint is only a hint: the token's own prefix says what it is.
        token, client_id = call.required("token"), call.client.client_id
        if token.startswith("brt_"):
            known = await self._devices.revoke(client_id, token, call.request_id)
        elif not token.startswith("ref_"):
            known = await self._broker_token(call, token)
        elif known := not call.client.public:
            # No reference is ever a public client's.
            await self._references.revoke(call.caller, token, call.request_id)
        if call.client.public and not known:
            # Anybody can say to be this client, and bring what they made up.
            await self._limits.failure(call.address)
        return call.answer(None)

    async def _broker_token(self, call: OAuthCall, token: str) -> bool:
        client_id = call.client.client_id
        grant = await self._tokens.revoke(client_id, token)
        self._authenticator.forget(token)
        if grant is not None and grant.connection_id is not None:
            await self._devices.end(
                grant.connection_id, grant.device_session, client_id=client_id, request_id=call.request_id
            )
        return grant is not None
