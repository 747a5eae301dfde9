"""Imports: a file becomes connections, all of them or none.

    look (every fault at once) → ask the providers, store as nobody's → commit point → publish

Until the commit point whatever goes wrong with a row takes everything back; whatever goes wrong with a store, a
provider or this process leaves it as it is, and the same command goes on.
"""

from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex
from typing import Final

from broker.clock import Clock
from broker.connections.moving.judging import Judge, Judged
from broker.connections.moving.lease import PATIENCE, Hold, Holding
from broker.connections.moving.order import Ending, Imported, Order, Report, Rows, Stop, TakenOver, Tell
from broker.connections.moving.publishing import TAKEN_OVER, Incomplete, Publishing
from broker.connections.moving.row import RowFault
from broker.connections.moving.storing import Course, Storing
from broker.connections.moving.survey import Seen, Survey, judged_rows
from broker.errors import BrokerError, Conflict, StoreUnavailable
from broker.vault.batches import Batch, Batches
from broker.vault.staged import Staged

_ROUNDS: Final = 3
_INTERRUPTED: Final = "it was interrupted"


class Imports:
    """Takes files in."""

    def __init__(
        self,
        batches: Batches,
        staged: Staged,
        judge: Judge,
        storing: Storing,
        publishing: Publishing,
        holding: Holding,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._staged = staged
        self._judge = judge
        self._survey = Survey(judge, staged)
        self._storing = storing
        self._publishing = publishing
        self._holding = holding
        self._clock = clock

    async def run(self, order: Order, rows: Rows, tell: Tell, stop: Stop) -> Report:
        """Take a file in, or go on with it.

        :raises TakenOver: somebody else is at it.
        :raises Conflict: it is being taken back.
        """
        ids = self._batches.ids_of(order.fingerprint)
        found = await self._batches.find(order.fingerprint)
        if order.dry_run:
            return await self._try(order, rows, found, tell, stop)
        async with self._holding.try_for(found.id if found else ids[0], stop, tell, patience=PATIENCE) as hold:
            if hold is None:
                raise TakenOver("another process is importing this file now")
            found = await self._batches.find(order.fingerprint)
            if found is not None and found.state == "done":
                return await self._already(found)
            if found is not None and found.state == "rolling_back":
                raise Conflict(f"the import is being taken back: broker connections import --rollback {found.id}")
            try:
                report = await self._take(order, rows, await self._claimed(found, tell, hold), ids[0], tell, hold)
                if report.state == "paused":
                    # Because of that, perhaps.
                    hold.check()
            except StoreUnavailable as error:
                return await self._paused(order, error.detail)
            return report

    def listed(self, report: Report, order: Order, rows: Rows, batch: Batch) -> Iterator[Imported]:
        """Each row's connection, by another look at the file."""
        for some in judged_rows(self._judge.again, order, rows):
            for position, judged in some:
                connection_id = report.aside.get(position, batch.connection_id(position))
                if isinstance(judged, Judged) and connection_id:
                    row = judged.row
                    yield Imported(row.number, row.source_id, connection_id, judged.provider.name, judged.subject)

    async def _try(self, order: Order, rows: Rows, found: Batch | None, tell: Tell, stop: Stop) -> Report:
        if found is not None and found.state == "done":
            return await self._already(found)
        seen = await self._survey.look(order, rows, tell, stop, batch=found.id if found else None)
        if seen.faults or stop.is_set():
            return _ended(None, seen, seen.faults, stop)
        course = Course()
        await self._storing.store_all(order, rows, seen, None, course, tell, stop)
        return _ended(None, seen, course.faults, stop, course)

    async def _claimed(self, found: Batch | None, tell: Tell, hold: Hold) -> Batch | None:
        """The batch, as what this run works on; ``None``: it begins anew."""
        batch = await self._batches.claim(found.id, hold.holder) if found is not None else None
        if batch is not None and batch.state == "refusing":
            await self._undo(batch, tell, hold)
            return None
        return batch

    async def _take(self, order: Order, rows: Rows, found: Batch | None, new_id: str, tell: Tell, stop: Hold) -> Report:
        seen = Seen()
        for _ in range(_ROUNDS):
            if found is None or found.state == "staging":
                seen = await self._survey.look(order, rows, tell, stop, batch=found.id if found else None)
                if stop.is_set():
                    return _ended(found, seen, [], stop)
                if seen.faults:
                    return await self._refused(found, seen, seen.faults, tell, stop)
                batch = await self._begun(order, found, new_id, seen, stop)
                course = Course()
                await self._storing.store_all(order, rows, seen, batch, course, tell, stop, resumed=found is not None)
                if course.faults:
                    return await self._refused(batch, seen, course.faults, tell, stop)
                if course.away or stop.is_set():
                    return _ended(batch, seen, [], stop, course)
                moved = replace(batch, skipped=seen.skipped, unverified=course.unverified, lacking=course.lacking)
                found = await self._publishing.moved(moved, ["staging"], "securing")
            elif not seen.rows:
                seen = await self._seen_before(found)
            try:
                found = await self._publishing.forward(found, tell, stop)
            except Incomplete:
                found = await self._completed(order, rows, found, tell, stop)
                continue
            return _ended(found, seen, [], stop)
        raise StoreUnavailable("what was stored is not there any more; is there a failover going on?")

    async def _begun(self, order: Order, found: Batch | None, new_id: str, seen: Seen, hold: Hold) -> Batch:
        hold.check()
        batch = found
        if batch is None:
            now, seed = self._clock(), token_hex(32)
            batch = Batch(new_id, "staging", now, now, order.file, order.tenant, seen.rows, seed, by=hold.holder)
        begun = await self._publishing.moved(
            replace(batch, rows=seen.rows), ["", "staging"], "staging", order.fingerprint
        )
        if found is not None:
            await self._storing.leave_out(begun, seen, hold)
        if not await self._batches.set_aside(begun, seen.aside):
            raise TakenOver(TAKEN_OVER)
        return begun

    async def _completed(self, order: Order, rows: Rows, batch: Batch, tell: Tell, stop: Stop) -> Batch:
        """Store again what is lost of a batch whose commit point was near, or is past."""
        if batch.state == "securing":
            return await self._publishing.moved(batch, ["securing"], "staging")
        seen, course = await self._seen_before(batch), Course()
        # All were asked about before.
        await self._storing.store_all(replace(order, verify=False), rows, seen, batch, course, tell, stop, resumed=True)
        back = await self._batches.read(batch.id)
        if back is None:
            raise TakenOver(TAKEN_OVER)
        return replace(back, by=batch.by)

    async def _seen_before(self, batch: Batch) -> Seen:
        return Seen(batch.rows, aside=await self._batches.aside(batch))

    async def _refused(self, batch: Batch | None, seen: Seen, faults: list[RowFault], tell: Tell, hold: Hold) -> Report:
        """Take back what was stored: nothing half done."""
        if batch is not None:
            await self._undo(batch, tell, hold)
        return Report("refused", None, seen.rows, faults=_in_order(faults))

    async def _undo(self, batch: Batch, tell: Tell, hold: Hold) -> None:
        hold.check()
        # First of all out of the state in which others would go on with it; of that they do the same.
        batch = await self._publishing.moved(batch, ["staging", "refusing"], "refusing")
        await self._storing.undo(batch, tell, hold)
        hold.check()
        if not await self._batches.forget(batch):
            raise TakenOver(TAKEN_OVER)

    async def _already(self, batch: Batch) -> Report:
        report = _ended(batch, await self._seen_before(batch), [], Stop())
        return replace(report, already=True)

    async def _paused(self, order: Order, why: str) -> Report:
        try:
            found = await self._batches.find(order.fingerprint)
        except BrokerError:
            # It is the store that is away.
            found = None
        return Report("paused", found.id if found else None, found.rows if found else 0, why=why)


def _ended(batch: Batch | None, seen: Seen, faults: list[RowFault], stop: Stop, course: Course | None = None) -> Report:
    """What is to be told."""
    course = course or Course()
    state: Ending = "checked"
    why = None
    if faults:
        state = "refused"
    elif course.away:
        state, why = "paused", "; ".join(f"{name}: {detail}" for name, detail in sorted(course.away.items()))
    elif batch is not None and batch.state == "done":
        state = "done"
    elif stop.is_set():
        state, why = "paused", _INTERRUPTED
    whole = batch if batch is not None and batch.state != "staging" else None
    return Report(
        state,
        batch.id if batch else None,
        seen.rows,
        imported=seen.rows - whole.skipped if whole and state == "done" else 0,
        skipped=whole.skipped if whole else seen.skipped,
        unverified=whole.unverified if whole else course.unverified,
        lacking=whole.lacking if whole else course.lacking,
        faults=_in_order(faults),
        why=why,
        again_at=course.again_at,
        aside=seen.aside,
    )


def _in_order(faults: list[RowFault]) -> tuple[RowFault, ...]:
    return tuple(sorted(faults, key=lambda fault: (fault.number, fault.field)))
