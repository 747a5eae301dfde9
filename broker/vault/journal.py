"""The audit record: events leave the buckets' outboxes and stand in one journal per tenant.

An event about a connection or a client is written into its bucket's outbox by the very script whose effect it records.
Draining moves it, in the words in which it stands there, into the tenant's journal; every move can be repeated and
changes nothing the second time, so a crash between any two steps loses no event and doubles none. An outbox that is
empty is gone.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from broker.clock import LATEST
from broker.models.event import Event
from broker.models.ids import bucket_of
from broker.vault import listing, names, scripts
from broker.vault.foreign import unless_foreign
from broker.vault.redis.store import Argument, Reply, Store
from broker.vault.stored import UNREADABLE

_LOOKS_AT_ONCE: Final = 128
"""Outboxes: requests that wait for the store go in between."""
_AT_FIRST: Final = 25
"""Events of each of them; where there are more, they follow in larger parts."""
_MOVED_AT_ONCE: Final = 400
"""Events, or a few more: each step with them keeps the process from its requests for no more than a moment."""
_WRITTEN_AT_ONCE: Final = 1_000
"""Events in one call of a script, whose stack is bounded."""
_FOR_SINK: Final = "s"
"""The field of an outbox's entry that holds an event for the sink alone; of others it is ``e``."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An event in an outbox, and the entry to acknowledge once it has arrived."""

    bucket: int
    entry: str
    event: Event
    text: bytes | str
    """The event as the journal is to have it."""
    kept: bool = True
    """Whether the journal is to have it; else the sink alone."""


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
        self._unreadable: dict[int, int] = {}

    @property
    def unreadable(self) -> int:
        """How many entries of outboxes :meth:`collect` has passed over, as it saw each bucket last."""
        return sum(self._unreadable.values())

    async def note(self, event: Event) -> None:
        """Put an event of a connection that changes nothing stored into its bucket's outbox.

        :raises StoreUnavailable: it may not stand there.
        """
        await self._note("e", event)

    async def note_for_sink(self, events: Iterable[Event]) -> None:
        """Put events into outboxes that are on record already, or never to be: whoever moves them tells the sink alone.

        :raises StoreUnavailable: they may not stand there.
        """
        await asyncio.gather(*(self._note(_FOR_SINK, event) for event in events))

    async def _note(self, name: str, event: Event) -> None:
        await self._store.execute("XADD", names.outbox(event.connection_id or ""), "*", name, event.encode())

    async def newest(self, buckets: Sequence[int]) -> dict[int, bytes | str]:
        """Bucket → the newest entry of its outbox, for those that have any."""
        waiting = await self.waiting(buckets)
        entries = await asyncio.gather(*map(self._newest, waiting))
        return dict(zip(waiting, entries, strict=True))

    async def held(self, newest: Mapping[int, bytes | str]) -> dict[int, bytes | str]:
        """Those of :meth:`newest` whose outbox still has that entry, or an older one."""
        pages = await asyncio.gather(*(self._page(bucket, "-", last, 1) for bucket, last in newest.items()))
        return {bucket: last for (bucket, last), page in zip(newest.items(), pages, strict=True) if page}

    async def waiting(self, buckets: Sequence[int]) -> dict[int, int]:
        """Bucket → number of events in its outbox, for those that have any; also of those that can't be read."""
        found: dict[int, int] = {}
        for start in range(0, len(buckets), _LOOKS_AT_ONCE):
            some = buckets[start : start + _LOOKS_AT_ONCE]
            lengths = await asyncio.gather(*(self._asked(bucket, "XLEN", instead=0) for bucket in some))
            found |= {bucket: length for bucket, length in zip(some, lengths, strict=True) if length}
        return found

    async def collect(self, buckets: Sequence[int], count: int) -> AsyncIterator[list[Parcel]]:
        """The events of these buckets' outboxes, in each the oldest first, in batches; of a bucket that has many, up to
        ``count`` at a time. They stay there until acknowledged.

        What can't be read as an event stays where it is for somebody to look at, and holds up nothing but itself; so
        does an outbox that is none.
        """
        at_first = min(count, _AT_FIRST)
        for start in range(0, len(buckets), _LOOKS_AT_ONCE):
            some = buckets[start : start + _LOOKS_AT_ONCE]
            pages = await asyncio.gather(*(self._page(bucket, "-", "+", at_first) for bucket in some))
            for bucket in some:
                self._unreadable.pop(bucket, None)
            found = [(bucket, page) for bucket, page in zip(some, pages, strict=True) if page]
            full = [(bucket, page[-1][0]) for bucket, page in found if len(page) == at_first]
            # What comes meanwhile waits for the next look: following a busy connection would never end.
            newest = await asyncio.gather(*(self._newest(bucket) for bucket, _ in full))
            parcels: list[Parcel] = []
            for bucket, page in found:
                parcels += self._parcels(bucket, page)
                await asyncio.sleep(0)  # requests go in between
                if len(parcels) >= _MOVED_AT_ONCE:
                    yield parcels
                    parcels = []
            if parcels:
                yield parcels
            for (bucket, after), last in zip(full, newest, strict=True):
                async for parcels in self._rest(bucket, after, last, count):
                    yield parcels

    async def _rest(self, bucket: int, after: bytes, last: bytes | str, count: int) -> AsyncIterator[list[Parcel]]:
        while page := await self._page(bucket, b"(" + after, last, count):
            after = page[-1][0]
            yield self._parcels(bucket, page)

    async def _page(self, bucket: int, after: bytes | str, last: bytes | str, count: int) -> Reply:
        return await self._asked(bucket, "XRANGE", after, last, "COUNT", count, instead=[])

    async def _newest(self, bucket: int) -> bytes | str:
        reply = await self._asked(bucket, "XREVRANGE", "+", "-", "COUNT", 1, instead=[])
        return reply[0][0] if reply else "-"

    async def _asked(self, bucket: int, command: str, *more: Argument, instead: Reply) -> Reply:
        key = names.bucket_outbox(bucket)
        reply = self._store.execute(command, key, *more)
        return await unless_foreign(self._store, key, "stream", reply, instead=instead)

    def _parcels(self, bucket: int, page: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Parcel]:
        parcels = []
        for entry, fields in page:
            event = _readable(fields)
            if event is None:
                log.error("event.unreadable", outbox=names.bucket_outbox(bucket), entry=entry.decode())
                continue
            text = fields[1]
            # Journals are listed by what their members begin with.
            as_it_is = text.startswith(b'{"id":"%b",' % event.id.encode())
            kept = fields[0] != _FOR_SINK.encode()
            parcels.append(Parcel(bucket, entry.decode(), event, text if as_it_is else event.encode(), kept))
        if len(parcels) < len(page):
            self._unreadable[bucket] = self._unreadable.get(bucket, 0) + len(page) - len(parcels)
        return parcels

    async def move(self, parcels: Sequence[Parcel], now: int) -> None:
        """Write what was collected into the journals, and drop what is too old at ``now`` (ms) or too much."""
        told = [(parcel.event, parcel.text) for parcel in parcels if parcel.kept]
        await self._write(told, str(now - self._keep_milliseconds))

    async def write(self, events: Iterable[Event]) -> None:
        """Write events into the journals that stand in no outbox."""
        await self._write([(event, event.encode()) for event in events], "")

    async def _write(self, told: Sequence[tuple[Event, bytes | str]], too_old: str) -> None:
        by_tenant: defaultdict[str, list[tuple[Event, bytes | str]]] = defaultdict(list)
        for event, text in told:
            by_tenant[event.tenant].append((event, text))
        for tenant, all_of_it in by_tenant.items():
            for start in range(0, len(all_of_it), _WRITTEN_AT_ONCE):
                await self._write_for(tenant, all_of_it[start : start + _WRITTEN_AT_ONCE], too_old)

    async def _write_for(self, tenant: str, told: Sequence[tuple[Event, bytes | str]], too_old: str) -> None:
        kept: list[Argument] = [self._keep_milliseconds, self._keep_events, too_old]
        pairs = [part for event, text in told for part in (event.at, text)]
        oldest = await self._store.run(scripts.JOURNAL_WRITE, [names.journal(tenant)], [*kept, *pairs])
        # A time before the tenant's oldest event leads nowhere.
        await self._note_times([event for event, _ in told], oldest or too_old)

    async def _note_times(self, events: Iterable[Event], oldest: Argument) -> None:
        """A call for each bucket: with a million connections hardly any two events are of the same one."""
        buckets: defaultdict[int, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for event in events:
            if event.connection_id:
                buckets[bucket_of(event.connection_id)][event.connection_id].add(event.at)
        await asyncio.gather(
            *(
                self._store.run(
                    scripts.JOURNAL_TIMES,
                    [names.connection_journal(connection_id) for connection_id in times],
                    [
                        self._keep_milliseconds,
                        oldest,
                        *(part for each in times.values() for part in (len(each), *each)),
                    ],
                )
                for times in buckets.values()
            )
        )

    async def at(self, tenant: str, moment: int) -> list[Event]:
        """The tenant's events of one moment (ms)."""
        reply = await self._store.execute("ZRANGE", names.journal(tenant), moment, moment, "BYSCORE")
        return [Event.decode(text) for text in reply]

    async def strike(self, event: Event) -> bool:
        """Take out an event of something that is undone; ``False``: it wasn't there, at least not in these words."""
        if event.connection_id:
            # First: as long as the event itself is there, a crash leaves something that is found again.
            await self._store.execute("ZREM", names.connection_journal(event.connection_id), event.at)
        key = names.journal(event.tenant)
        if await self._store.execute("ZREM", key, event.encode()):
            return True
        # A replica of another version may have said the same in other words.
        there = await self._store.execute("ZRANGE", key, event.at, event.at, "BYSCORE")
        same = [text for text in there if Event.decode(text) == event]
        return bool(same and await self._store.execute("ZREM", key, *same))

    async def acknowledge(self, parcels: Iterable[Parcel]) -> None:
        """Remove arrived events from the outboxes. What somebody else has removed before is no matter."""
        by_bucket: defaultdict[int, list[Argument]] = defaultdict(list)
        for parcel in parcels:
            by_bucket[parcel.bucket] += (parcel.entry, parcel.event.id)
        await asyncio.gather(
            *(
                self._store.run(scripts.OUTBOX_ACKNOWLEDGE, [names.bucket_outbox(bucket)], entries)
                for bucket, entries in by_bucket.items()
            )
        )

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
        whole = event.id.isascii() and event.id.replace("_", "").isalnum() and isinstance(event.data, dict)
        texts = (event.type, event.tenant, event.connection_id or "")
        # In a batch with others, one that the store refuses would take them along.
        fits = all(text.encode() is not None for text in texts) and 0 <= event.at <= LATEST
    except UNREADABLE:
        return None
    return event if whole and fits and type(event.at) is int else None


def _place(position: listing.Position) -> listing.Position:
    """The position without what the event says.

    A member begins with its event's id, which is all that the order within a millisecond needs. Cursors are given out,
    and the event may be about a provider that who holds the cursor was not given.
    """
    return listing.Position(position.score, position.member.partition(",")[0])
