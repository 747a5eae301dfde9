"""Counters that end by themselves, in the store, so that all replicas count together."""

from typing import NamedTuple

from broker.vault import names, scripts
from broker.vault.redis.store import Store


class Counted(NamedTuple):
    """An event, among those of its window."""

    number: int
    """How many there were, this one among them."""
    left: int
    """Milliseconds until the window ends."""


class Counters:
    """Counts events by name, each within a window of fixed length that begins with the first one.

    More events don't prolong it. Every method raises :class:`StoreUnavailable`, as the store does. An event that was
    counted without an answer stays counted: it is not sent again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, name: str, window: int) -> Counted:
        """Count one event within a window of ``window`` milliseconds."""
        number, left = await self._store.run(scripts.COUNT, [names.counter(name)], [1, window])
        return Counted(number, left)

    async def give_back(self, name: str) -> None:
        """Count one event less, if the window is still open."""
        await self._store.run(scripts.COUNT_BACK, [names.counter(name)], [])
