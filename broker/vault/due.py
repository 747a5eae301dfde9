"""What has to happen to connections without a request, by time: a sorted set per bucket, claimed for a while.

A member is ``kind:connection id``. Whoever claims one hides it from the others for some time, in one step, so that no
two get the same; if it isn't done by then, it is due again. Scripts put members in together with the change that makes
them due. A bucket is looked into only where something is due; that is the cost of having many.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from broker.vault import names, scripts
from broker.vault.foreign import unless_foreign
from broker.vault.redis.store import Argument, Store

_LOOKED_INTO_AT_ONCE: Final = 64
"""Buckets. Looks are many and in no hurry: requests get between them."""


class Kind(StrEnum):
    """What is to be done."""

    REVOKE = "revoke"
    """Give an ended connection's credential back to the provider."""
    UNLIST = "unlist"
    """Take an ended connection off every list, and erase its record."""
    REFRESH = "refresh"
    """Renew a connection's credential before somebody needs it."""
    CHECK = "check"
    """Test a connection that nobody tested or refreshed for a while."""
    ABANDON = "abandon"
    """Look whether machines still use a connection that is there for their logins alone."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of due work."""

    kind: Kind
    connection_id: str
    hidden_until: int = field(default=0, compare=False)
    """When its claim runs out (ms)."""

    @property
    def member(self) -> str:
        """How it stands in the sorted set."""
        return f"{self.kind}:{self.connection_id}"


class DueWork:
    """Claims due work, and strikes off what is done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def waiting(self, *, now: int) -> dict[int, int]:
        """How much is due at ``now`` (ms), of any kind, in each bucket that has some.

        Where there is something of another type in its place, nothing is.
        """
        found: dict[int, int] = {}
        buckets = names.buckets()
        for first in range(0, len(buckets), _LOOKED_INTO_AT_ONCE):
            some = buckets[first : first + _LOOKED_INTO_AT_ONCE]
            counts = await asyncio.gather(*(self._count(bucket, now) for bucket in some))
            found.update((bucket, count) for bucket, count in zip(some, counts, strict=True) if count)
        return found

    async def claim(
        self, bucket: int, *, now: int, hidden_for: int, count: int, kinds: Collection[Kind] = tuple(Kind)
    ) -> list[Entry]:
        """Up to ``count`` pieces of the bucket's work of these kinds that are due at ``now`` (ms), longest due first.

        :param hidden_for: milliseconds after which they are due again, unless they are done by then.
        """
        hidden_until = now + hidden_for
        wanted = f",{','.join(kinds)},"
        key = names.bucket_due(bucket)
        claiming = self._store.run(scripts.CLAIM, [key], [now, hidden_until, count, wanted])
        members = await unless_foreign(self._store, key, "zset", claiming, instead=[])
        return [_entry(member.decode(), hidden_until) for member in members]

    async def _count(self, bucket: int, now: int) -> int:
        key = names.bucket_due(bucket)
        counting = self._store.execute("ZCOUNT", key, "-inf", now)
        return int(await unless_foreign(self._store, key, "zset", counting, instead=0))

    async def done(self, entry: Entry) -> None:
        """Strike off what is done."""
        await self._store.execute("ZREM", names.due(entry.connection_id), entry.member)

    async def settle(self, entry: Entry, *, due: int | None) -> bool:
        """Give claimed work another time (ms), or strike it off with ``None``.

        ``False``: somebody gave it another time since it was claimed, or its claim has run out; that stays.
        """
        arguments: list[Argument] = [entry.member, entry.hidden_until, "" if due is None else due]
        return bool(await self._store.run(scripts.CLAIM_SETTLE, [names.due(entry.connection_id)], arguments))


def _entry(member: str, hidden_until: int) -> Entry:
    kind, _, connection_id = member.partition(":")
    return Entry(Kind(kind), connection_id, hidden_until)
