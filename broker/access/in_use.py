"""What the store said a moment ago: remembered while it is used, and looked at again every moment in the background.

So a request that comes again asks nobody, and what is taken back stops counting within seconds. It holds as much as is
in use, and a bounded number of entries: what finds no place is looked up each time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from broker.clock import Clock
from broker.errors import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LOOKED_AT_EVERY: Final = 1.5
"""Seconds between two looks."""
_BELIEVED_FOR: Final = 5_000
"""Milliseconds for which an answer counts where no look succeeds."""
_AT_MOST: Final = 10_000
_LOOKED_AT_ONCE: Final = 250
"""Entries. Requests that wait for the store go in between."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    good_until: int
    used: bool = True


class InUse(Generic[K, V]):
    """A memory of what is in use. A key is the digest of a secret, or holds one: what is not known is not found."""

    def __init__(self, clock: Clock, *, at_most: int = _AT_MOST) -> None:
        self._clock = clock
        self._at_most = at_most
        self._entries: dict[K, _Entry[V]] = {}

    def get(self, key: K) -> V | None:
        """What is remembered, if it still counts."""
        entry = self._entries.get(key)
        if entry is None or self._clock() >= entry.good_until:
            return None
        entry.used = True
        return entry.value

    def put(self, key: K, value: V, *, asked_at: int) -> None:
        """Remember what the store answered; ``asked_at`` (ms): when it was asked, before it could answer."""
        if key in self._entries or len(self._entries) < self._at_most:
            self._entries[key] = _Entry(value, asked_at + _BELIEVED_FOR)

    def forget(self, key: K) -> None:
        """Stop believing what was just taken back here."""
        self._entries.pop(key, None)

    def forget_all(self, concerned: Callable[[K], bool]) -> None:
        """The same for every key that is ``concerned``."""
        self._entries = {key: entry for key, entry in self._entries.items() if not concerned(key)}

    async def look_again(self, look: Callable[[K, V], Awaitable[V | None]]) -> None:
        """Ask ``look`` about everything in use since the last time, and forget the rest, and what is answered by
        ``None``.

        A store that can't be asked changes nothing, and is not asked on: what is remembered runs out by itself.

        :raises Exception: what ``look`` raised but :class:`StoreUnavailable`; of several the first. All the others were
            looked at all the same.
        """
        in_use = {key: entry for key, entry in self._entries.items() if entry.used}
        self._entries = dict(in_use)
        for entry in in_use.values():
            entry.used = False

        async def again(key: K, entry: _Entry[V]) -> None:
            asked_at = self._clock()
            value = await look(key, entry.value)
            if self._entries.get(key) is not entry:
                # Taken back, or looked up by a request, while this was under way: that is newer.
                return
            if value is None:
                del self._entries[key]
            else:
                entry.value, entry.good_until = value, asked_at + _BELIEVED_FOR

        entries = list(in_use.items())
        faults: list[BaseException] = []
        for first in range(0, len(entries), _LOOKED_AT_ONCE):
            some = entries[first : first + _LOOKED_AT_ONCE]
            results = await asyncio.gather(*(again(*pair) for pair in some), return_exceptions=True)
            failed = [result for result in results if isinstance(result, BaseException)]
            faults += [fault for fault in failed if not isinstance(fault, StoreUnavailable)]
            if len(failed) == len(some):
                break
        if faults:
            raise faults[0]
