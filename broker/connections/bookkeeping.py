"""Settling the buckets' outboxes: events move to the journal and the sink, and indexes follow the records."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from broker.clock import Clock
from broker.errors import SealBroken, StoreUnavailable
from broker.models.event import Event
from broker.models.ids import bucket_of
from broker.observe import metrics
from broker.observe.sink import Sink
from broker.vault import names
from broker.vault.journal import Journal
from broker.vault.records import Records

_AT_ONCE: Final = 200
_LISTED_AT_ONCE: Final = 64
_LONG: Final = 5.0
_LISTED_BY: Final = frozenset({"connection.created", "connection.renewed"})

log = structlog.get_logger(__name__)


class Bookkeeping:
    """Moves events on. Every step can be repeated, by any replica at any time."""

    def __init__(self, journal: Journal, records: Records, sink: Sink, clock: Clock, *, long: float = _LONG) -> None:
        """:param long: seconds after which a look at all buckets tells how many events wait for it."""
        self._journal = journal
        self._records = records
        self._sink = sink
        self._clock = clock
        self._settling = asyncio.Lock()
        self._asked = 0
        self._settled = 0
        self._long = long
        self._in_hand = 0

    async def settle_all(self) -> int:
        """Settle what every bucket holds at the time of the call; answers how many events this call moved.

        Looking at all buckets is a lot of commands, so many who ask at the same time share one look that begins after
        all of them asked.

        :raises StoreUnavailable: the store, or the sink, does not take them; they stay where they are.
        """
        self._asked += 1
        mine = self._asked
        async with self._settling:
            if self._settled >= mine:
                return 0
            asked = self._asked
            try:
                moved = await self._settle_watched(names.buckets())
            except StoreUnavailable:
                await self._count_waiting()
                raise
            metrics.events_waiting.set(self._journal.unreadable)
            self._settled = asked
            return moved

    async def settle_connection(self, connection_id: str) -> None:
        """Settle the bucket of one connection."""
        await self._settle([bucket_of(connection_id)])

    async def bring_in(self, connection_id: str | None = None) -> int:
        """Have what was recorded before the call stand in the journal: of one connection, or all of it.

        :returns: how many events are left waiting, those included that came meanwhile.
        :raises StoreUnavailable: as :meth:`settle_all`.
        """
        await (self.settle_all() if connection_id is None else self.settle_connection(connection_id))
        return 0

    async def enter(self, events: Sequence[Event]) -> None:
        """Write events down at once that stand in no outbox. Whoever makes them can make them again.

        :raises StoreUnavailable: the store, or the sink, does not take them.
        """
        await self._write_out(events)
        await self._journal.write(events)

    async def tell(self, event: Event) -> None:
        """Tell the sink alone: of what leaves no trace in the store.

        :raises StoreUnavailable: it does not take it.
        """
        await self._write_out([event])

    async def _settle_watched(self, buckets: Sequence[int]) -> int:
        """As :meth:`_settle`; while it takes long, it is told how many events wait for it."""
        watching = asyncio.create_task(self._watch(), name="count the events that wait")
        try:
            return await self._settle(buckets)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._long)
            await self._count_waiting()

    async def _count_waiting(self) -> None:
        try:
            waiting = sum((await self._journal.waiting(names.buckets())).values())
        except StoreUnavailable:
            # Those that are known of, at least.
            waiting = self._in_hand + self._journal.unreadable
        metrics.events_waiting.set(waiting)

    async def _settle(self, buckets: Sequence[int]) -> int:
        moved = 0
        async for parcels in self._journal.collect(buckets, _AT_ONCE):
            events = [parcel.event for parcel in parcels]
            self._in_hand = len(parcels)
            await self._write_out(events)
            await self._journal.move(parcels, self._clock())
            await self._list_again(events)
            await self._journal.acknowledge(parcels)
            self._in_hand = 0
            moved += len(parcels)
        return moved

    async def _write_out(self, events: Iterable[Event]) -> None:
        try:
            await self._sink.write(json.dumps(event.shown(), separators=(",", ":")) for event in events)
        except OSError as error:
            # The events stay in their outbox until the sink takes them.
            reason = error.strerror or type(error).__name__
            raise StoreUnavailable(f"the events sink can't be written: {reason}", retry_after=5) from None

    async def _list_again(self, events: Iterable[Event]) -> None:
        """List connections that were made: whoever made them may have died before that."""
        made = {event.connection_id for event in events if event.type in _LISTED_BY and event.connection_id}
        turns = asyncio.Semaphore(_LISTED_AT_ONCE)
        await asyncio.gather(*(self._list_one(connection_id, turns) for connection_id in made))

    async def _list_one(self, connection_id: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                connection = await self._records.read(connection_id)
            except SealBroken as error:
                # One damaged record must not hold everybody's events up.
                log.error("bookkeeping.not_listed", connection_id=connection_id, reason=error.detail)
                return
            if connection is not None:
                await self._records.index(connection)
