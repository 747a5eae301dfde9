"""From the commit point on: what a batch has stored becomes its tenants', forward only, by whoever finds it.

    kept from going by themselves → commit point → each: tenant and due work, lists, event → done

Every step can be repeated by any process and changes nothing the second time. Events go into the journal without an
outbox, under ids that are fixed: whoever takes the batch back leaves no stream behind.
"""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final, Literal

import structlog

from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.moving.lease import Holding
from broker.connections.moving.order import Stop, TakenOver, Tell
from broker.models.event import Event
from broker.vault.batches import Batch, Batches, State
from broker.vault.journal import Journal
from broker.vault.records import Records
from broker.vault.staged import Found, Staged

_AT_ONCE: Final = 250
_LEFT_ALONE: Final = 60_000
"""Milliseconds without a sign of life after which a running broker goes on with a batch."""
TAKEN_OVER: Final = "another process has taken the import over"

log = structlog.get_logger(__name__)


class Incomplete(Exception):
    """Some of the batch's connections aren't there: their time ran out, or a failover lost them."""


def pieces(batch: Batch, *, after: int = 0) -> Iterator[range]:
    """The positions of a batch's rows after ``after``, some at a time."""
    for first in range(after + 1, batch.rows + 1, _AT_ONCE):
        yield range(first, min(first + _AT_ONCE, batch.rows + 1))


class Publishing:
    """Publishes batches."""

    def __init__(
        self,
        batches: Batches,
        staged: Staged,
        records: Records,
        journal: Journal,
        bookkeeping: Bookkeeping,
        holding: Holding,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._staged = staged
        self._records = records
        self._journal = journal
        self._bookkeeping = bookkeeping
        self._holding = holding
        self._clock = clock

    async def step(self) -> int:
        """Go on with what others have left unfinished after its commit point; answers how many batches that were."""
        left = [
            batch
            for batch in await self._batches.all()
            if batch.state in {"securing", "publishing"} and batch.since < self._clock() - _LEFT_ALONE
        ]
        done = 0
        for batch in left:
            async with self._holding.try_for(batch.id, Stop()) as hold:
                # As it is now: whoever let go of it may have gone on with it until then.
                mine = await self._batches.claim(batch.id, hold.holder) if hold else None
                if hold is None or mine is None or mine.state not in {"securing", "publishing"}:
                    continue
                try:
                    done += (await self.forward(mine, lambda *_: None, hold)).state == "done"
                except Incomplete:
                    log.error("import.incomplete", batch=batch.id, advice="run the same import again, with its file")
        return done

    async def forward(self, batch: Batch, tell: Tell, stop: Stop) -> Batch:
        """The batch, done; or, after ``stop``, as far as it came.

        :raises Incomplete: not all of it is there.
        :raises StoreUnavailable: it can be gone on with.
        :raises TakenOver: somebody else does.
        """
        if batch.state == "securing":
            batch = await self._secure(batch, tell, stop)
        if batch.state == "publishing":
            for positions in pieces(batch, after=batch.published):
                if stop.is_set():
                    return batch
                await self._publish(batch, positions, stop)
                progress = replace(batch, published=positions[-1])
                batch = await self.moved(progress, ["publishing"], "publishing")
                tell("publishing", batch.published, batch.rows)
            batch = await self.moved(batch, ["publishing"], "done")
        return batch

    async def _secure(self, batch: Batch, tell: Tell, stop: Stop) -> Batch:
        await self._batches.keep_aside(batch)
        for positions in pieces(batch):
            if stop.is_set():
                return batch
            stop.check()
            ids = await self._batches.ids(batch, positions)
            kept = await asyncio.gather(*(self._staged.keep(batch.id, each, for_ever=True) for _, each in ids))
            if not all(kept):
                raise Incomplete
            tell("securing", positions[-1], batch.rows)
        return await self.moved(batch, ["securing"], "publishing")

    async def _publish(self, batch: Batch, positions: range, stop: Stop) -> None:
        ids = await self._batches.ids(batch, positions)
        found = await self._staged.read_all([each for _, each in ids])
        # After the look, not before: what was seen while the batch was ours is published as it was then, or not at all.
        stop.check()
        await asyncio.gather(
            *(self._give(batch, position, each, stop) for (position, _), each in zip(ids, found, strict=True))
        )
        events = []
        for (position, _), each in zip(ids, found, strict=True):
            event = event_of(batch, position, each) if each is not None else None
            # After a crash in between: what was published may have been told, and may have changed since.
            if event is not None and each is not None and not (each.published and await self._is_told(event)):
                events.append(event)
        if events:
            stop.check()
            await self._bookkeeping.enter(events)

    async def _give(self, batch: Batch, position: int, found: Found | None, stop: Stop) -> None:
        brought = found.brought if found is not None else None
        if found is None or brought is None or brought.batch != batch.id:
            is_there = False
        else:
            is_there = await self._staged.publish(found.connection, brought)
        if found is None or not is_there:
            log.warning("import.row_lost", batch=batch.id, position=position)
            raise Incomplete
        stop.check()
        await self._records.index(found.connection)

    async def _is_told(self, event: Event) -> bool:
        return any(other.id == event.id for other in await self._journal.at(event.tenant, event.at))

    async def moved(
        self, batch: Batch, among: Collection[State | Literal[""]], to: State, fingerprint: bytes | None = None
    ) -> Batch:
        """The batch, one step further.

        :raises TakenOver: it is not where it was believed to be, or somebody else's.
        """
        moved = await self._batches.step(batch, among=among, to=to, now=self._clock(), fingerprint=fingerprint)
        if moved is None:
            raise TakenOver(TAKEN_OVER)
        return moved


def event_of(batch: Batch, position: int, found: Found) -> Event | None:
    """The event that tells of a row's connection; ``None``: it is none of the batch."""
    connection, brought = found.connection, found.brought
    if brought is None or brought.batch != batch.id:
        return None
    event = Event.about(
        "connection.created",
        connection,
        at=brought.at,
        subject=connection.subject,
        scopes=list(connection.scopes),
        requested_scopes=list(connection.requested_scopes),
        means="import",
        batch=batch.id,
    )
    return replace(event, id=batch.event_id(position))
