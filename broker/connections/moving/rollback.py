"""Taking a batch back: the store is as it was before, but for what others did meanwhile.

    look at all → each: lists, event, record → the batch itself

A connection whose credential has changed since is not taken along unasked: its refresh token may exist only here. So
one whose refresh is under way is waited for, and one that is refreshed between the look and its turn stays, as a
connection like any other: it belongs here by then.

Nothing is revoked at a provider: the other system still lives from the same grants. What the app has said of the
connections since (label, metadata, fallback) goes with them, and is counted. Another connection whose fallback is one
of them goes on naming it, as if it had been disconnected.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from broker.clock import Clock, steady
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.moving.lease import PATIENCE, Hold, Holding
from broker.connections.moving.order import Stop, TakenOver, Tell
from broker.connections.moving.publishing import event_of, pieces
from broker.errors import Conflict, NotFound
from broker.models.connection import Connection
from broker.models.event import Event
from broker.models.ids import is_id
from broker.vault.batches import Batch, Batches, State
from broker.vault.journal import Journal
from broker.vault.record_documents import notes_mark
from broker.vault.record_form import Brought
from broker.vault.records import Records
from broker.vault.siblings import Siblings
from broker.vault.staged import Found, How, Staged, Verdict

NAMED: Final = 100
"""Of the connections that stand in the way so many are named."""
_PATIENCE: Final = 60.0
"""Seconds that a refresh under way may take, and a lease that somebody left behind."""
_LOOKS_EVERY: Final = 0.25
_ANY: Final[tuple[State, ...]] = ("staging", "refusing", "securing", "publishing", "done", "rolling_back")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What came of it."""

    batch: str
    removed: int
    """Connections that are gone."""
    forced: int
    """Of those: had got another credential since, and were taken along all the same."""
    amended: int
    """Of those removed: the app had given them another label, metadata or fallback since."""
    ended: int
    """Were disconnected before, and are left as that."""
    kept: Sequence[str]
    """Stay as connections like any other: were refreshed while the batch was taken back, or are being refreshed."""


class Changed(Conflict):
    """Some of the connections have another credential by now."""

    def __init__(self, connection_ids: Sequence[str], count: int) -> None:
        super().__init__(
            f"{count} of its connections were refreshed or authorized anew since, or may have been; what they have now "
            "exists only here. Nothing was changed. --force takes them away, too"
        )
        self.connection_ids = tuple(connection_ids)


@dataclass(frozen=True, slots=True)
class _Ours:
    """A connection of the batch."""

    position: int
    found: Found
    brought: Brought


class Rollbacks:
    """Takes batches back."""

    def __init__(
        self,
        batches: Batches,
        staged: Staged,
        records: Records,
        siblings: Siblings,
        journal: Journal,
        bookkeeping: Bookkeeping,
        holding: Holding,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._staged = staged
        self._records = records
        self._siblings = siblings
        self._journal = journal
        self._bookkeeping = bookkeeping
        self._holding = holding
        self._clock = clock

    async def roll_back(self, batch_id: str, tell: Tell, *, force: bool) -> RolledBack:
        """Take the batch back, in whatever state it is. Broken off, it goes on when it is called again.

        :param force: also connections whose credential has changed.
        :raises NotFound: there is no such batch.
        :raises TakenOver: somebody else is at it.
        :raises Changed: there are such connections, and ``force`` is false. Nothing was changed.
        """
        name = batch_id if is_id("imp", batch_id) else ""
        async with self._holding.try_for(name, Stop(), tell, patience=PATIENCE) as hold:
            if hold is None:
                raise TakenOver("another process works on this import now")
            found = await self._batches.read(batch_id)
            if found is None:
                raise NotFound("there is no such import")
            # Once it has begun there is nothing to be decided any more: what has changed by then is kept.
            if not force and found.state != "rolling_back":
                await self._check_unchanged(found, tell)
            hold.check()
            batch = await self._batches.claim(batch_id, hold.holder)
            if batch is not None:
                batch = await self._batches.step(batch, among=_ANY, to="rolling_back", now=self._clock())
            if batch is None:
                raise TakenOver("another process has taken the import over")
            result = await self._take_back(batch, tell, hold, force=force)
            await self._tell(batch, result)
            hold.check()
            if not await self._batches.forget(batch):
                raise TakenOver("another process has taken the import over")
        return result

    async def _check_unchanged(self, batch: Batch, tell: Tell) -> None:
        changed: list[str] = []
        count = 0
        for positions in pieces(batch):
            ours = await self._found(batch, positions)
            verdicts = await asyncio.gather(*(self._settled(one, "look") for one in ours))
            for one, verdict in zip(ours, verdicts, strict=True):
                if verdict in {"changed", "busy"}:
                    count += 1
                    changed += [one.found.connection.id] if count <= NAMED else []
            tell("looking", positions[-1], batch.rows)
        if count:
            raise Changed(changed, count)

    async def _settled(self, one: _Ours, how: How) -> Verdict:
        """What became of it; a refresh that is under way is waited for, unless it takes too long."""
        until = steady() + _PATIENCE
        while True:
            verdict = await self._staged.withdraw(one.found.connection.id, one.brought, how)
            if verdict != "busy" or steady() >= until:
                return verdict
            await asyncio.sleep(_LOOKS_EVERY)

    async def _found(self, batch: Batch, positions: range) -> list[_Ours]:
        """What there is of these rows."""
        ids = await self._batches.ids(batch, positions)
        found = await self._staged.read_all([connection_id for _, connection_id in ids])
        return [
            _Ours(position, one, one.brought)
            for (position, _), one in zip(ids, found, strict=True)
            if one is not None and one.brought is not None and one.brought.batch == batch.id
        ]

    async def _take_back(self, batch: Batch, tell: Tell, hold: Hold, *, force: bool) -> RolledBack:
        count: Counter[str] = Counter()
        stay: list[_Ours] = []
        kept: list[str] = []
        for positions in pieces(batch):
            ours = await self._found(batch, positions)
            # After the look, not before: what was seen while the batch was ours is removed as it was then, or not at
            # all.
            hold.check()
            verdicts = await asyncio.gather(*(self._remove(batch, one, force=force) for one in ours))
            for one, verdict in zip(ours, verdicts, strict=True):
                count[verdict] += 1
                if verdict in {"removed", "forced"}:
                    count["amended"] += one.brought.notes != notes_mark(one.found.connection)
                elif verdict != "gone":
                    stay.append(one)
                    kept += [one.found.connection.id] if verdict != "ended" else []
            tell("taking back", positions[-1], batch.rows)
        hold.check()
        # Last: until then, broken off and gone on with, it says the same of them.
        await asyncio.gather(*(self._staged.let_go(one.found.connection.id, one.brought) for one in stay))
        removed = count["removed"] + count["forced"]
        return RolledBack(batch.id, removed, count["forced"], count["amended"], count["ended"], tuple(kept))

    async def _remove(self, batch: Batch, one: _Ours, *, force: bool) -> Verdict:
        """Remove one connection with all that the import made of it, unless something speaks against it."""
        how: How = "force" if force else "unchanged"
        verdict = await self._settled(one, "look")
        if verdict in {"gone", "ended", "busy"} or (verdict == "changed" and not force):
            return verdict
        struck = None
        if one.found.published:
            # The record goes last: a crash before that leaves it to be read again, with what it says of the lists.
            await self._unlist(one.found.connection)
            struck = await self._strike(batch, one)
        verdict = await self._settled(one, how)
        if verdict not in {"gone", "removed", "forced"}:
            await self._give_back(one, struck)
        # Gone in between: this very command may have been sent twice.
        return "removed" if verdict == "gone" else verdict

    async def _give_back(self, one: _Ours, struck: Event | None) -> None:
        """It changed in the last moment, and stays: its lists and its event are as they were."""
        current = await self._records.read(one.found.connection.id)
        if current is not None:
            await self._records.index(current)
        if struck is not None:
            await self._journal.write([struck])

    async def _unlist(self, connection: Connection) -> None:
        await self._records.unindex(connection.id, connection.tenant, connection.subject)
        await self._siblings.leave(connection)

    async def _strike(self, batch: Batch, one: _Ours) -> Event | None:
        """Take its event out of the journal; answers it."""
        event = event_of(batch, one.position, one.found)
        if event is None or await self._journal.strike(event):
            return event
        # Its words are others where the connection has changed since.
        for told in await self._journal.at(event.tenant, event.at):
            if told.id == event.id:
                await self._journal.strike(told)
                return told
        return None

    async def _tell(self, batch: Batch, result: RolledBack) -> None:
        """In the log and the sink: the store keeps no trace."""
        counts = {
            "rows": batch.rows,
            "removed": result.removed,
            "forced": result.forced,
            "amended": result.amended,
            "ended": result.ended,
            "kept": len(result.kept),
        }
        log.warning("import.rolled_back", batch=batch.id, **counts)
        for connection_id in result.kept:
            log.warning("import.kept", batch=batch.id, connection_id=connection_id)
        tenant = batch.tenant or ""
        await self._bookkeeping.tell(
            Event("import.rolled_back", tenant, self._clock(), data={"batch": batch.id, **counts})
        )
