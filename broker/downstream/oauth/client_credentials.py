"""The client credentials grant (RFC 6749 §4.4): a client gets a broker token for itself."""

from typing import Final

from broker.access.tokens import BrokerTokens
from broker.downstream.oauth.answers import BrokerTokenAnswer
from broker.downstream.oauth.endpoint import OAuthCall
from broker.downstream.oauth.forms import ClientCredentialsForm

GRANT_TYPE: Final = "client_credentials"


class ClientCredentialsGrant:
    """Issues broker tokens."""

    form = ClientCredentialsForm
    answer = BrokerTokenAnswer
    public = False
    from_memory = False
    """What it gives lasts for a quarter of an hour, and what is remembered may be over by now."""

    def __init__(self, tokens: BrokerTokens) -> None:
        self._tokens = tokens

    async def __call__(self, call: OAuthCall) -> BrokerTokenAnswer:
        """A broker token with the scopes asked for; without ``scope``, all the client has."""
        scope = call.parameters.get("scope")
        issued = await self._tokens.issue(call.client, None if scope is None else scope.split())
        return BrokerTokenAnswer(
            access_token=issued.token,
            token_type="Bearer",  # noqa: S106 - the name of a type
            expires_in=issued.expires_in,
            scope=" ".join(issued.scopes),
        )
