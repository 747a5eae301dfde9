"""One process at a time works on a batch, and one that has lost it does nothing more.

A hold is believed for less long than it lasts, by a clock that goes on while this process is stopped: who wakes up
after a long stop knows at once. What was sent in the moment of the stop, and arrives after it, the batch's own claim
(``Batches.claim``) and the scripts keep from doing harm.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from broker.clock import steady
from broker.connections.moving.order import Stop, TakenOver, Tell
from broker.errors import StoreUnavailable
from broker.models.ids import new_id
from broker.vault.leadership import Leadership
from broker.vault.redis.store import Store

_RENEWED_EVERY: Final = 4.0
"""Seconds; the lead lasts several times as long."""
_BELIEVED: Final = 12.0
"""Seconds from the last time that the lead was known to be ours; it lasts some longer."""
PATIENCE: Final = 20.0
"""Seconds that a dead process' hold is waited for: longer than it lasts."""
_LOOKS_EVERY: Final = 1.0
_OVER: Final = "another process has taken the import over, or may have: this one was held up for too long"


class Hold(Stop):
    """A batch that is held. It counts as set when the work is to stop, or when the hold is lost."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.holder = new_id("holder")
        """Who claims the batch."""
        self._stop = stop
        self._believed_until = steady() + _BELIEVED

    def believe(self, since: float) -> None:
        """The hold was ours at the moment ``since``."""
        self._believed_until = since + _BELIEVED

    def lose(self) -> None:
        """It is ours no longer."""
        self._believed_until = 0.0
        self.set()

    @property
    def is_lost(self) -> bool:
        """Whether it may be somebody else's by now."""
        return steady() >= self._believed_until

    def is_set(self) -> bool:
        """Whether nothing more is to be begun."""
        return super().is_set() or self._stop.is_set() or self.is_lost

    def check(self) -> None:
        """Before anything is changed.

        :raises TakenOver: it may be somebody else's by now.
        """
        if self.is_lost:
            raise TakenOver(_OVER)

    async def follow(self) -> None:
        """Wake those who wait for this one when the work is to stop."""
        await self._stop.wait()
        self.set()


class Holding:
    """Takes batches, and lets go of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def try_for(
        self, batch_id: str, stop: Stop, tell: Tell | None = None, *, patience: float = 0.0
    ) -> AsyncIterator[Hold | None]:
        """Hold the batch as long as the block runs; ``None``: somebody else has it.

        Who dies lets go of it within seconds.

        :param patience: seconds that it is waited for.
        :param tell: told how long that is being done.
        """
        # One of its own each time: two imports in one process are two.
        leadership, name = Leadership(self._store), f"import {batch_id}"
        hold = await self._taken(leadership, name, stop, tell, patience)
        if hold is None:
            yield None
            return
        work = [
            asyncio.create_task(each, name="hold a batch") for each in (_renew(leadership, name, hold), hold.follow())
        ]
        try:
            yield hold
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            hold.lose()
            with suppress(StoreUnavailable):
                await leadership.resign()

    async def _taken(
        self, leadership: Leadership, name: str, stop: Stop, tell: Tell | None, patience: float
    ) -> Hold | None:
        began = steady()
        while True:
            asked, hold = steady(), Hold(stop)
            if await leadership.leads(name):
                hold.believe(asked)
                return hold
            if steady() - began >= patience or stop.is_set():
                return None
            if tell is not None:
                tell("waiting for another process: second", int(steady() - began), int(patience))
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOKS_EVERY):
                    await stop.wait()


async def _renew(leadership: Leadership, name: str, hold: Hold) -> None:
    while True:
        await asyncio.sleep(_RENEWED_EVERY)
        asked = steady()
        # A store that is away may be back before the hold has run out.
        with suppress(StoreUnavailable):
            if not await leadership.keeps(name):
                hold.lose()
                return
            hold.believe(asked)
