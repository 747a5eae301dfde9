"""The audit record: events leave the buckets' outboxes and stand in one journal per tenant.

An event about a connection is written into its bucket's outbox by the very script whose effect it records; what befalls
a client lies in no bucket, so its event follows by a command of its own. Draining moves it into the
tenant's journal; every move can be repeated and changes nothing the second time, so a crash between any two steps
loses no event and doubles none.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from broker.clock import LATEST
from broker.models.event import Event
from broker.vault import listing, names
from broker.vault.redis.store import Store

_LOOKS_AT_ONCE: Final = 128

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An event in an outbox, and the entry to acknowledge once it has arrived."""

    entry: str
    event: Event


class Journal:
    """Drains outboxes and answers what happened."""

    def __init__(self, store: Store, *, keep_milliseconds: int, keep_events: int) -> None:
        """
        :param keep_milliseconds: events older than this leave the journal.
        :param keep_events: how many events of one tenant are kept at most.
        """
        self._store = store
        self._keep_milliseconds = keep_milliseconds
        self._keep_events = keep_events

    async def note(self, event: Event) -> None:
        """Put an event of a connection that changes nothing stored into its bucket's outbox.

        :raises StoreUnavailable: it may not stand there.
        """
        await self._store.execute("XADD", names.outbox(event.connection_id or ""), "*", "e", event.encode())

    async def waiting(self, buckets: Iterable[int]) -> dict[int, int]:
        """Bucket → number of events in its outbox, for those that have any."""
        found: dict[int, int] = {}
        every = list(buckets)
        for start in range(0, len(every), _LOOKS_AT_ONCE):
            some = every[start : start + _LOOKS_AT_ONCE]
            # A few at a time: requests that wait for the store go in between.
            lengths = await asyncio.gather(*(self._store.execute("XLEN", names.bucket_outbox(b)) for b in some))
            found |= {bucket: length for bucket, length in zip(some, lengths, strict=True) if length}
        return found

    async def collect(self, bucket: int, count: int) -> AsyncIterator[list[Parcel]]:
        """The events of a bucket's outbox, oldest first, up to ``count`` at a time; they stay there until acknowledged.

        What can't be read as an event stays where it is for somebody to look at, and holds up nothing but itself.
        """
        key, after = names.bucket_outbox(bucket), "-"
        newest = await self._store.execute("XREVRANGE", key, "+", "-", "COUNT", 1)
        # What comes meanwhile waits for the next look: following a busy connection would never end.
        last = newest[0][0].decode() if newest else "-"
        while reply := await self._store.execute("XRANGE", key, after, last, "COUNT", count):
            found = [(entry.decode(), _readable(fields)) for entry, fields in reply]
            after = f"({found[-1][0]}"
            for entry in (entry for entry, event in found if event is None):
                log.error("event.unreadable", outbox=key, entry=entry)
            yield [Parcel(entry, event) for entry, event in found if event is not None]

    async def write(self, events: Sequence[Event]) -> None:
        """Write events into their tenants' journals, and their times into those of their connections."""
        by_tenant: defaultdict[str, list[int | str]] = defaultdict(list)
        by_connection: defaultdict[str, set[int]] = defaultdict(set)
        for event in events:
            by_tenant[event.tenant] += (event.at, event.encode())
            if event.connection_id:
                by_connection[event.connection_id].add(event.at)
        moves = []
        for tenant, pairs in by_tenant.items():
            key = names.journal(tenant)
            moves.append(self._store.execute("ZADD", key, *pairs))
            # Trimming follows writing: of a tenant of whom nothing is heard any more, this lets go.
            moves.append(self._store.execute("PEXPIRE", key, self._keep_milliseconds))
        for connection_id, times in by_connection.items():
            key = names.connection_journal(connection_id)
            moves.append(self._store.execute("ZADD", key, *(part for at in times for part in (at, at))))
            moves.append(self._store.execute("PEXPIRE", key, self._keep_milliseconds))
        await asyncio.gather(*moves)

    async def at(self, tenant: str, moment: int) -> list[Event]:
        """The tenant's events of one moment (ms)."""
        reply = await self._store.execute("ZRANGE", names.journal(tenant), moment, moment, "BYSCORE")
        return [Event.decode(text) for text in reply]

    async def strike(self, event: Event) -> bool:
        """Take out an event of something that is undone; ``False``: it wasn't there, at least not in these words."""
        if event.connection_id:
            # First: as long as the event itself is there, a crash leaves something that is found again.
            await self._store.execute("ZREM", names.connection_journal(event.connection_id), event.at)
        return bool(await self._store.execute("ZREM", names.journal(event.tenant), event.encode()))

    async def acknowledge(self, bucket: int, parcels: Sequence[Parcel]) -> None:
        """Remove arrived events from the outbox."""
        if parcels:
            await self._store.execute("XDEL", names.bucket_outbox(bucket), *(parcel.entry for parcel in parcels))

    async def trim(self, written: Mapping[str, Collection[str]], now: int) -> None:
        """Drop what is too old or too much, where something was just written: of tenants, and of their connections.

        :param written: tenant → the connections that had events.
        """
        for tenant, connection_ids in written.items():
            key = names.journal(tenant)
            await self._store.execute("ZREMRANGEBYSCORE", key, "-inf", now - self._keep_milliseconds)
            await self._store.execute("ZREMRANGEBYRANK", key, 0, -self._keep_events - 1)
            oldest = await self._store.execute("ZRANGE", key, 0, 0, "WITHSCORES")
            # A time before the tenant's oldest event leads nowhere.
            before = f"({int(float(oldest[1]))}" if oldest else now - self._keep_milliseconds
            for connection_id in connection_ids:
                await self._store.execute("ZREMRANGEBYSCORE", names.connection_journal(connection_id), "-inf", before)

    async def of_tenant(
        self, tenant: str, after: listing.Position | None, count: int
    ) -> list[tuple[listing.Position, Event]]:
        """A tenant's events older than ``after``, newest first."""
        found = await listing.page(self._store, names.journal(tenant), after=after, count=count)
        return [(_place(position), Event.decode(position.member)) for position in found]

    async def of_connection(
        self, tenant: str, connection_id: str, after: listing.Position | None, count: int
    ) -> list[tuple[listing.Position, Event]]:
        """A connection's events of before ``after``, newest first; those of one millisecond stay together."""
        times = await listing.page(self._store, names.connection_journal(connection_id), after=after, count=count)
        replies = await asyncio.gather(
            *(self._store.execute("ZRANGE", names.journal(tenant), t.score, t.score, "BYSCORE") for t in times)
        )
        return [
            (position, event)
            for position, reply in zip(times, replies, strict=True)
            for event in map(Event.decode, reply)
            if event.connection_id == connection_id
        ]


def _readable(fields: Sequence[bytes]) -> Event | None:
    """The event of an outbox entry, or ``None`` if it would not fit into a journal, or could not be shown."""
    try:
        event = Event.decode(fields[1])
        texts = (event.id, event.type, event.tenant, event.connection_id or "")
        # In a batch with others, one that the sink can't say or the store refuses would take them along.
        event.shown()
        fits = all(text.encode() is not None for text in texts) and 0 <= event.at <= LATEST
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, OSError):
        return None
    return event if fits and isinstance(event.at, int) else None


def _place(position: listing.Position) -> listing.Position:
    """The position without what the event says.

    A member begins with its event's id, which is all that the order within a millisecond needs. Cursors are given out,
    and the event may be about a provider that who holds the cursor was not given.
    """
    return listing.Position(position.score, position.member.partition(",")[0])
