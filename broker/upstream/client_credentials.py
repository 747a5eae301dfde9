"""The client credentials grant (RFC 6749 §4.4): a token for the app itself, without a person."""

from collections.abc import Collection, Sequence

from broker.clock import Clock
from broker.providers.schema import Provider
from broker.upstream.egress import Egress
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_endpoint import request_token
from broker.upstream.token_response import TokenSet


async def client_credentials(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    scopes: Sequence[str],
    secrets: Collection[str] = (),
) -> TokenSet:
    """Obtain a token for the entry's own client.

    :param secrets: what a connection holds already that no error may repeat.
    :raises BrokerError: what :func:`request_token` raises.
    """
    fields = {"grant_type": "client_credentials"}
    if scopes:
        fields["scope"] = provider.scope_separator.join(scopes)
    return await request_token(egress, clock, provider, endpoints, fields, requested_scopes=scopes, secrets=secrets)
