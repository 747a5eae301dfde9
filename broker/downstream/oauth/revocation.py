"""``POST /oauth/revoke`` (RFC 7009): broker tokens and references are taken back by whom they belong to."""

from typing import Final

from starlette.responses import Response

from broker.access.authentication import Authenticator
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
    ) -> None:
        self._endpoint = endpoint
        self._authenticator = authenticator
        self._tokens = tokens
        self._references = references

    def routes(self) -> list[DeclaredRoute]:
        """The route."""
        return [self._endpoint.route(_REVOKE, self._revoke)]

    async def _revoke(self, call: OAuthCall) -> Response:
        # token_type_hint is only a hint: the token's own prefix says what it is.
        token = call.required("token")
        if token.startswith("ref_"):
            await self._references.revoke(call.caller, token, call.request_id)
        else:
            await self._tokens.revoke(call.caller, token)
            self._authenticator.forget(token)
        return call.answer(None)
