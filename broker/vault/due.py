"""What has to happen to connections without a request, by time: a sorted set per bucket, claimed for a while.

A member is ``kind:connection id``. Whoever claims one hides it from the others for some time; if it isn't done by then,
it is due again. Scripts put members in together with the change that makes them due.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker.vault import names
from broker.vault.redis.store import Store


class Kind(StrEnum):
    """What is to be done."""

    REVOKE = "revoke"
    """Give an ended connection's credential back to the provider."""
    UNLIST = "unlist"
    """Take an ended connection off every list, and erase its record."""


_KINDS: Final = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of due work."""

    kind: Kind
    connection_id: str

    @property
    def member(self) -> str:
        """How it stands in the sorted set."""
        return f"{self.kind}:{self.connection_id}"


class DueWork:
    """Claims due work and strikes off what is done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, bucket: int, *, now: int, hidden_for: int, count: int) -> list[Entry]:
        """Up to ``count`` pieces of the bucket's work that are due at ``now`` (ms).

        :param hidden_for: milliseconds after which they are due again, unless they are done by then.
        """
        key = names.bucket_due(bucket)
        reply = await self._store.execute("ZRANGE", key, "-inf", now, "BYSCORE", "LIMIT", 0, count)
        members = [member.decode() for member in reply]
        for member in members:
            # Of a kind that only a newer replica knows, too: it must not stand before the others for ever.
            await self._store.execute("ZADD", key, "XX", now + hidden_for, member)
        return [entry for entry in map(_entry, members) if entry]

    async def done(self, entry: Entry) -> None:
        """Strike off what is done."""
        await self._store.execute("ZREM", names.due(entry.connection_id), entry.member)


def _entry(member: str) -> Entry | None:
    kind, _, connection_id = member.partition(":")
    return Entry(Kind(kind), connection_id) if kind in _KINDS else None
