"""Letting those who disconnect an account know that one of the same app is being connected, perhaps the same one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from broker.clock import Clock
from broker.connections.authorization import minted_by
from broker.connections.persistence import until_stored
from broker.errors import NotSent, StoreUnavailable
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.vault.siblings import Siblings

EXCHANGE_AT_MOST: Final = 120_000
"""How long redeeming a code may take before it counts as lost, in milliseconds."""

_ATTEMPTS: Final = 8


class Announcements:
    """Says what is under way at providers where revoking one token ends every grant of that person."""

    def __init__(self, siblings: Siblings, upstream: Upstream, clock: Clock) -> None:
        self._siblings = siblings
        self._upstream = upstream
        self._clock = clock

    @asynccontextmanager
    async def announced(self, name: str, provider: Provider, parameters: Mapping[str, str]) -> AsyncIterator[None]:
        """While this lasts, a connection is being made under ``name``, the id of what makes it.

        :raises NotSent: that can't be said now, so nothing may be begun.
        """
        if not provider.revoking_ends_grant:
            yield
            return
        minted = minted_by(provider, await self._upstream.endpoints(provider, parameters))
        now = self._clock()
        try:
            await until_stored(
                lambda: self._siblings.expect(minted, name, now=now, until=now + EXCHANGE_AT_MOST),
                what=f"announcement of {name}",
                attempts=_ATTEMPTS,
            )
        except StoreUnavailable as error:
            raise NotSent(error.detail, retry_after=error.retry_after) from None
        try:
            yield
        finally:
            # Should this not be stored, the announcement runs out by itself.
            with suppress(StoreUnavailable):
                await self._siblings.arrived(minted, name)
