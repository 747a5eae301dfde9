"""Storing the rows of a file, as nobody's: each is asked about at its provider first, unless it is stored already.

What was stored in an earlier run isn't asked about again: that it is there says that it passed.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.connections.moving.judging import Judge, Judged
from broker.connections.moving.order import Order, Rows, Stop, Tell
from broker.connections.moving.publishing import pieces
from broker.connections.moving.row import RowFault
from broker.connections.moving.survey import FAULTS_AT_MOST, Seen, judged_rows
from broker.connections.moving.verifying import Draft, Verifying
from broker.errors import ProviderError, ProviderUnavailable, StoreUnavailable
from broker.models.connection import Connection
from broker.vault.batches import Batch, Batches
from broker.vault.parked import Parked
from broker.vault.record_documents import notes_mark
from broker.vault.record_form import Brought
from broker.vault.staged import Staged

_ASKED_AT_ONCE: Final = 32
"""Rows whose providers are asked at the same time; each provider has a limit of its own."""
_STORED_AT_ONCE: Final = 128
"""Where nobody is asked."""
_WORTH_TELLING: Final = 10
"""Seconds: whoever is told of a shorter pause would have come back later anyway."""


@dataclass(slots=True)
class Course:
    """How the storing of a batch goes."""

    stored: int = 0
    unverified: int = 0
    lacking: int = 0
    """Were granted less than was asked for, as the row says."""
    faults: list[RowFault] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    """Provider → why nobody there can be asked now. Its rows wait; others' go on."""
    again_at: int | None = None
    """When all of these can be asked again, as far as they say so (ms)."""


class Storing:
    """Stores rows, and takes them back before they are anybody's."""

    def __init__(
        self, batches: Batches, staged: Staged, parked: Parked, judge: Judge, verifying: Verifying, clock: Clock
    ) -> None:
        self._batches = batches
        self._staged = staged
        self._parked = parked
        self._judge = judge
        self._verifying = verifying
        self._clock = clock

    async def store_all(
        self,
        order: Order,
        rows: Rows,
        seen: Seen,
        batch: Batch | None,
        course: Course,
        tell: Tell,
        stop: Stop,
        *,
        resumed: bool = False,
    ) -> None:
        """Ask about every row, and store what passes, unless it is stored; without a batch nothing is stored."""
        places = asyncio.Semaphore(_ASKED_AT_ONCE if order.verify else _STORED_AT_ONCE)

        async def one(position: int, judged: Judged) -> None:
            connection_id = seen.aside.get(position) or (batch.connection_id(position) if batch else "con_")
            async with places:
                if stop.is_set() or judged.provider.name in course.away or len(course.faults) >= FAULTS_AT_MOST:
                    return
                if batch is not None and resumed and await self._is_stored(batch, connection_id, judged, course):
                    return
                try:
                    await self._ask(order, judged, connection_id, batch, course, stop)
                except StoreUnavailable:
                    raise
                except (ProviderUnavailable, ProviderError) as error:
                    course.away[judged.provider.name] = error.detail
                    if error.retry_after is not None and error.retry_after >= _WORTH_TELLING:
                        course.again_at = max(course.again_at or 0, self._clock() + error.retry_after * 1000)

        for some in judged_rows(self._judge.again, order, rows):
            good = [(p, judged) for p, judged in some if isinstance(judged, Judged) and seen.aside.get(p) != ""]
            await _together(one(position, judged) for position, judged in good)
            course.faults += [fault for _, judged in some if isinstance(judged, list) for fault in judged]
            tell("verifying" if order.verify else "storing", some[-1][0], seen.rows)
            if stop.is_set():
                return

    async def _ask(
        self, order: Order, judged: Judged, connection_id: str, batch: Batch | None, course: Course, stop: Stop
    ) -> None:
        batch_id = batch.id if batch else None
        draft = await self._verifying.draft(
            judged, connection_id, batch_id, stop, verify=order.verify, away=course.away.keys()
        )
        if isinstance(draft, list):
            course.faults += judged.row.named(draft)
            return
        # Where one is refused nothing will be kept; the others are asked all the same, so that all faults are known.
        # Asking may have taken long.
        stop.check()
        if batch is not None and not course.faults and not await self._store(batch, draft):
            course.faults += judged.row.named(
                [RowFault(judged.row.number, "id", "a connection with this id is there already")]
            )
            return
        course.stored += 1
        course.unverified += not draft.verified
        course.lacking += _lacks(judged, draft.connection)

    async def _store(self, batch: Batch, draft: Draft) -> bool:
        connection, now = draft.connection, self._clock()
        brought = Brought(
            batch.id, connection.generation, now, draft.verified, len(draft.parked), notes_mark(connection)
        )
        stored = await self._staged.stage(connection, draft.credential, brought)
        if stored:
            await self._park(draft.connection, draft.parked)
        return stored

    async def _park(self, connection: Connection, parked: Sequence[str]) -> None:
        """Put beside it what lay beside it where it comes from, unless that is done."""
        if parked and not (await self._parked.candidates(connection)).count:
            for refresh_token in reversed(parked):
                await self._parked.park(connection, refresh_token)

    async def _is_stored(self, batch: Batch, connection_id: str, judged: Judged, course: Course) -> bool:
        found = await self._staged.read(connection_id)
        if found is None or found.brought is None or found.brought.batch != batch.id:
            return False
        if not found.published and not await self._staged.keep(batch.id, connection_id, for_ever=False):
            return False
        if judged.row.restored is not None and not found.published:
            await self._park(found.connection, judged.row.restored.parked)
        course.stored += 1
        course.unverified += not found.brought.verified
        course.lacking += _lacks(judged, found.connection)
        return True

    async def leave_out(self, batch: Batch, seen: Seen, stop: Stop) -> None:
        """Take back what was stored of rows that are left out by now, because somebody made such a connection
        meanwhile. Before that is noted: afterwards nobody would find it."""
        left_out = [position for position, connection_id in seen.aside.items() if not connection_id]
        for start in range(0, len(left_out), _STORED_AT_ONCE):
            await self._withdraw(batch, left_out[start : start + _STORED_AT_ONCE], stop)

    async def undo(self, batch: Batch, tell: Tell, stop: Stop) -> None:
        """Let nothing be left of what a batch has stored before its commit point."""
        for positions in pieces(batch):
            await self._withdraw(batch, positions, stop)
            tell("taking back", positions[-1], batch.rows)

    async def _withdraw(self, batch: Batch, positions: Sequence[int], stop: Stop) -> None:
        ids = await self._batches.ids(batch, positions)
        found = await self._staged.read_all([each for _, each in ids])
        # After the look, not before: what was seen while the batch was ours is removed as it was then, or not at all.
        stop.check()
        await asyncio.gather(
            *(
                self._staged.withdraw(one.connection.id, one.brought, "staged")
                for one in found
                if one and one.brought and one.brought.batch == batch.id
            )
        )


def _lacks(judged: Judged, connection: Connection) -> bool:
    """Whether a new row was granted less than it says was asked for. Of a restored one its own broker told that."""
    return judged.restored is None and bool(connection.consents and connection.consents[-1].missing)


async def _together(work: Iterable[Coroutine[object, object, None]]) -> None:
    """All of it; the first that fails ends the others, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
