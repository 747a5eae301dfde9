"""Taking a batch back: the store is as it was before, but for what others did meanwhile.

    look at all → each: lists, event, record → the batch itself

A connection whose credential has changed since is not taken along unasked: its refresh token may exist only here.
Nothing is revoked at a provider: the other system still lives from the same grants.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.moving.lease import Holding
from broker.connections.moving.order import Tell
from broker.connections.moving.publishing import event_of, pieces
from broker.errors import Conflict, NotFound, StoreUnavailable
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.models.ids import is_id
from broker.vault.batches import Batch, Batches
from broker.vault.journal import Journal
from broker.vault.records import Records
from broker.vault.siblings import Siblings
from broker.vault.staged import Found, Staged

NAMED: Final = 100
"""Of the connections that stand in the way so many are named."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What came of it."""

    batch: str
    removed: int
    """Connections that are gone."""
    forced: int
    """Of those: had got another credential since, and were taken along all the same."""
    ended: int
    """Were disconnected before, and are left as that."""


class Changed(Conflict):
    """Some of the connections have another credential by now."""

    def __init__(self, connection_ids: Sequence[str], count: int) -> None:
        super().__init__(
            f"{count} of its connections were refreshed or authorized anew since; what they have now exists only here. "
            "Nothing was changed. --force takes them away, too"
        )
        self.connection_ids = tuple(connection_ids)


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
        :raises Conflict: somebody is at it.
        :raises Changed: there are such connections, and ``force`` is false.
        """
        async with self._holding.try_for(batch_id if is_id("imp", batch_id) else "") as mine:
            batch = await self._batches.read(batch_id)
            if batch is None:
                raise NotFound("there is no such import")
            if not mine:
                raise Conflict("another process works on this import now")
            if not force:
                await self._check_unchanged(batch, tell)
            batch = await self._batches.step(
                batch,
                among=["staging", "securing", "publishing", "done", "rolling_back"],
                to="rolling_back",
                now=self._clock(),
            )
            if batch is None:
                raise StoreUnavailable("somebody else has taken the import further")
            result = await self._take_back(batch, tell, force=force)
            await self._tell(batch, result)
            await self._batches.forget(batch)
        return result

    async def _check_unchanged(self, batch: Batch, tell: Tell) -> None:
        changed: list[str] = []
        count = 0
        for positions in pieces(batch):
            for _, found in await self._found(batch, positions):
                if _is_changed(found):
                    count += 1
                    changed += [found.connection.id] if count <= NAMED else []
            tell("looking", positions[-1], batch.rows)
        if count:
            raise Changed(changed, count)

    async def _found(self, batch: Batch, positions: range) -> list[tuple[int, Found]]:
        """What there is of these rows."""
        ids = await self._batches.ids(batch, positions)
        found = await self._staged.read_all([connection_id for _, connection_id in ids])
        return [
            (position, one)
            for (position, _), one in zip(ids, found, strict=True)
            if one is not None and one.brought is not None and one.brought.batch == batch.id
        ]

    async def _take_back(self, batch: Batch, tell: Tell, *, force: bool) -> RolledBack:
        removed = forced = ended = 0
        late: list[str] = []
        for positions in pieces(batch):
            found = await self._found(batch, positions)
            gone = await asyncio.gather(*(self._remove(batch, *each, force=force) for each in found))
            for (_, one), is_gone in zip(found, gone, strict=True):
                removed += is_gone
                forced += is_gone and _is_changed(one)
                ended += one.connection.status is Status.REVOKED
                if not is_gone and one.connection.status is not Status.REVOKED:
                    late.append(one.connection.id)
            tell("taking back", positions[-1], batch.rows)
        if late:
            # Refreshed between the look and now. The rest is gone, and the batch stays to be gone on with.
            raise Changed(late[:NAMED], len(late))
        return RolledBack(batch.id, removed, forced, ended)

    async def _remove(self, batch: Batch, position: int, found: Found, *, force: bool) -> bool:
        """Remove one connection with all that the import made of it; ``False``: it stays."""
        connection = found.connection
        if connection.status is Status.REVOKED or (_is_changed(found) and not force):
            return False
        if found.published:
            # The record goes last: a crash before that leaves it to be read again, with what it says of the lists.
            await self._unlist(connection)
            await self._strike(batch, position, found)
        if await self._staged.withdraw(batch.id, connection):
            return True
        current = await self._records.read(connection.id)
        if current is not None:
            await self._records.index(current)
        return False

    async def _unlist(self, connection: Connection) -> None:
        await self._records.unindex(connection.id, connection.tenant, connection.subject)
        await self._siblings.leave(connection)

    async def _strike(self, batch: Batch, position: int, found: Found) -> None:
        event = event_of(batch, position, found)
        if event is None or await self._journal.strike(event):
            return
        # Its words are others where the connection has changed since.
        for told in await self._journal.at(event.tenant, event.at):
            if told.id == event.id:
                await self._journal.strike(told)

    async def _tell(self, batch: Batch, result: RolledBack) -> None:
        """In the log and the sink: the store keeps no trace."""
        counts = {"rows": batch.rows, "removed": result.removed, "forced": result.forced, "ended": result.ended}
        log.warning("import.rolled_back", batch=batch.id, **counts)
        tenant = batch.tenant or ""
        await self._bookkeeping.tell(
            Event("import.rolled_back", tenant, self._clock(), data={"batch": batch.id, **counts})
        )


def _is_changed(found: Found) -> bool:
    if found.brought is None or found.connection.status is Status.REVOKED:
        return False
    return found.connection.generation != found.brought.generation
