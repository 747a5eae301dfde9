"""When one connection may serve in the place of another: only where the provider says that both are one account."""

from broker.models.connection import Connection, Status
from broker.providers import Provider, Registry
from broker.upstream.parameters import fill


def may_stand_in(asked: Connection, other: Connection, providers: Registry) -> str | None:
    """Why ``other`` may not serve in the place of ``asked``; ``None``: it may.

    Two connections are the same account if the provider's whoami, asked at one and the same address, said the same id
    for both. Accounts can change, so this is asked anew whenever it matters.

    :raises NotConfigured: the providers file lacks the provider of one of them, so that nobody can tell.
    """
    if other.id == asked.id:
        return "a connection can't stand in for itself"
    if (other.tenant, other.subject) != (asked.tenant, asked.subject):
        return "it is another subject's"
    if other.status is Status.REVOKED:
        return "it was disconnected"
    if asked.account is None or other.account is None:
        return "the provider has not said whose accounts they are"
    here, there = _whoami(asked, providers), _whoami(other, providers)
    if here is None or there is None:
        return "their providers' entries don't say how to ask whose accounts they are (identity)"
    if here != there:
        return "nobody can tell that it is the same account: they are asked about at different addresses (identity.url)"
    if asked.account.id != other.account.id:
        return "it is another account"
    return None


def _whoami(connection: Connection, providers: Registry) -> tuple[str, str, str] | None:
    """What is asked whose account it is, and where the id stands in the answer."""
    provider: Provider = providers.of_connection(connection.provider)
    rule = provider.identity
    if rule is None:
        return None
    values = {name: parameter.default or "" for name, parameter in provider.parameters.items()}
    return rule.method, fill(rule.url, {**values, **connection.parameters}), rule.id
