"""The refresh token grant (RFC 6749 §6): one POST, never repeated here, for the token may be spent by it."""

from collections.abc import Callable, Collection, Sequence

from broker.clock import Clock
from broker.providers.schema import Provider
from broker.upstream.egress import Egress
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_endpoint import request_token
from broker.upstream.token_response import TokenSet


async def refresh(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    refresh_token: str,
    scopes: Sequence[str],
    secrets: Collection[str] = (),
    permit: Callable[[], bool] = lambda: True,
) -> TokenSet:
    """Trade ``refresh_token`` for new tokens.

    :param scopes: what the connection holds; a silent answer grants the same. Where a provider wants them in the
        request, ``{scope}`` in ``refresh_params`` stands for them.
    :param secrets: what else the connection holds that no error may repeat.
    :param permit: see :meth:`Egress.send`.
    :raises BrokerError: what :func:`request_token` raises.
    """
    granted = provider.scope_separator.join(scopes)
    extra = {name: value.replace("{scope}", granted) for name, value in provider.refresh_params.items()}
    fields = {**extra, "grant_type": "refresh_token", "refresh_token": refresh_token}
    return await request_token(
        egress, clock, provider, endpoints, fields, requested_scopes=scopes, secrets=secrets, permit=permit
    )
