"""Counters that end by themselves, in the store, so that all replicas count together: storage for ``limits``."""

from limits.aio.storage import Storage

from broker.clock import Clock
from broker.errors import StoreUnavailable
from broker.vault import names, scripts
from broker.vault.redis.store import Store


class Counters(Storage):
    """What the strategies of ``limits`` count with, on our store.

    A counter lives for one window from its first event; more events don't prolong it. Every method raises
    :class:`StoreUnavailable`, as the store does. An event that was counted without an answer stays counted: it is not
    sent again.
    """

    STORAGE_SCHEME = None

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the store raises; it goes through as it is."""
        return StoreUnavailable

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount`` within a window of ``expiry`` seconds; answers the count. One script."""
        count, _left = await self._store.run(scripts.COUNT, [names.counter(key)], [amount, expiry * 1000])
        return int(count)

    async def give_back(self, key: str) -> None:
        """Count one event less, if the window is still open."""
        await self._store.run(scripts.COUNT_BACK, [names.counter(key)], [])

    async def get(self, key: str) -> int:
        """The count; 0 where no window is open."""
        return int(await self._store.execute("GET", names.counter(key)) or 0)

    async def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch; now, where none is open."""
        left: int = await self._store.execute("PTTL", names.counter(key))
        return (self._clock() + max(0, left)) / 1000

    async def check(self) -> bool:
        """Whether the store answers."""
        try:
            await self.get("")
        except StoreUnavailable:
            return False
        return True

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        await self._store.execute("DEL", names.counter(key))

    async def reset(self) -> int:
        """Forget every counter; answers how many there were."""
        found = {key async for page in self._store.scan(names.counter("*")) for key in page}
        for key in found:
            await self._store.execute("DEL", key)
        return len(found)
