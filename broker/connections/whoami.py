"""Asking a provider about an access token: whose account it is for, and with that whether it is accepted."""

from broker.errors import BrokerError, ProviderError, ProviderRefused, ProviderUnavailable
from broker.models.account import Account
from broker.models.connection import Connection, Credential
from broker.providers import Provider
from broker.upstream.facade import Upstream


async def whose(
    upstream: Upstream, provider: Provider, connection: Connection, credential: Credential
) -> Account | None:
    """The account of the connection's access token; ``None`` where the provider can't be asked.

    :raises ProviderRefused: it is not accepted, if :func:`refuses_token`.
    :raises ProviderError, ProviderUnavailable: the answer says nothing about the token, or there was none.
    """
    found = await upstream.identify(
        provider,
        connection.parameters,
        credential=credential,
        credential_type=connection.credential_type,
        scopes=connection.scopes,
    )
    return found.account if found else None


def refuses_token(error: BrokerError) -> bool:
    """Whether ``error`` says that the provider doesn't accept the token; any other failure says nothing about it."""
    return isinstance(error, ProviderRefused) and error.error == "invalid_token"


def tells_nothing(error: BrokerError) -> bool:
    """Whether ``error`` says nothing about the credential: the provider can't be asked, or something else answers in
    its place, as gateways do with a page."""
    if isinstance(error, ProviderUnavailable):
        return True
    status = error.http_status if isinstance(error, ProviderError) else None
    return status is not None and not (isinstance(error, ProviderRefused) or 400 <= status < 500)
