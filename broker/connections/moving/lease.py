"""One process at a time works on a batch. Two that did it at once would do no harm: every step can be repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from broker.errors import StoreUnavailable
from broker.vault.leadership import Leadership
from broker.vault.redis.store import Store

_RENEWED_EVERY: Final = 4.0
"""Seconds; the lead lasts several times as long."""


class Holding:
    """Takes batches, and lets go of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def try_for(self, batch_id: str) -> AsyncIterator[bool]:
        """Hold the batch as long as the block runs; ``False``: somebody else has it.

        Who dies lets go of it within seconds.
        """
        # One of its own each time: two imports in one process are two.
        leadership, name = Leadership(self._store), f"import {batch_id}"
        if not await leadership.leads(name):
            yield False
            return
        renewing = asyncio.create_task(_renew(leadership, name), name="hold a batch")
        try:
            yield True
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(StoreUnavailable):
                await leadership.resign()


async def _renew(leadership: Leadership, name: str) -> None:
    while True:
        await asyncio.sleep(_RENEWED_EVERY)
        with suppress(StoreUnavailable):
            await leadership.leads(name)
