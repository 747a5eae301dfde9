"""Switching on again what an export switched off: when no file came of it, when it was broken off, or when asked to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.changes import Changes
from broker.connections.moving.switching_off import lead_of, switch
from broker.errors import BrokerError, Conflict, NotFound, StoreUnavailable
from broker.models.connection import Status
from broker.vault.exports import StoredExport, StoredExports
from broker.vault.leadership import Leadership
from broker.vault.records import Records
from broker.vault.redis.store import Store

_AT_ONCE: Final = 100
_PATIENCE: Final = 16.0
"""Seconds until it is plain that whoever worked on an export lives: the lead of the dead ends sooner."""
_LOOKS_EVERY: Final = 0.25

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Undone:
    """What came of it."""

    export: str
    switched_on: int = 0
    left_off: list[str] = field(default_factory=list)
    """Connections that could not be switched on."""


class Undoing:
    """Undoes exports. Repeating it changes nothing."""

    def __init__(self, store: Store, records: Records, changes: Changes, clock: Clock) -> None:
        self._store = store
        self._exports = StoredExports(store)
        self._records = records
        self._changes = changes
        self._clock = clock

    async def undo(self, export_id: str) -> Undone:
        """Switch everything on again that it switched off, whatever came of it. Who calls this works on the export.

        :raises StoreUnavailable: not all of it was done; the rest is noted still.
        """
        await self._exports.overrule(export_id, "undone")
        return await self._switch_on(export_id)

    async def known(self, export_id: str) -> StoredExport:
        """The export.

        :raises NotFound: it has switched nothing off, or that was too long ago.
        """
        export = await self._exports.read(export_id)
        if export is None:
            raise NotFound("no export of this id has switched anything off in the last 90 days")
        return export

    async def undo_when_asked(self, export_id: str) -> Undone:
        """:meth:`undo`, by somebody who has not worked on it.

        :raises Conflict: it is under way.
        """
        async with self._taken_over(export_id, None) as taken:
            if not taken:
                raise Conflict("the export is under way")
            return await self.undo(export_id)

    async def step(self) -> int:
        """:meth:`undo_broken_off` as a chore; answers how many connections are on again."""
        undone, _ = await self.undo_broken_off(patience=0)
        for each in undone:
            log.warning("export.undone", export=each.export, switched_on=each.switched_on)
        return sum(each.switched_on for each in undone)

    async def undo_broken_off(self, *, patience: float | None = None) -> tuple[list[Undone], list[str]]:
        """Undo every export that nobody goes on with and of which no whole file can be.

        :param patience: seconds to wait for those that somebody may be working on; ``None``: until that is plain.

        Answers those, and the ids of exports that were broken off when their file was about to become whole: of these
        nobody here can know.

        :raises StoreUnavailable: not all of it was done.
        """
        undone, uncertain = [], []
        for export in await self._exports.all(self._clock()):
            if export.outcome == "done":
                continue
            async with self._taken_over(export.id, patience) as taken:
                if not taken:
                    continue
                if await self._exports.decide(export.id, "undone"):
                    undone.append(await self._switch_on(export.id))
                elif (await self.known(export.id)).outcome == "left":
                    uncertain.append(export.id)
        return [each for each in undone if each.switched_on or each.left_off], uncertain

    @asynccontextmanager
    async def _taken_over(self, export_id: str, patience: float | None) -> AsyncIterator[bool]:
        """Whether it is ours now: nobody else works on it, or has until a moment ago."""
        leadership = Leadership(self._store)
        until = asyncio.get_running_loop().time() + (_PATIENCE if patience is None else patience)
        while not (taken := await leadership.leads(lead_of(export_id))):
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_LOOKS_EVERY)
        try:
            yield taken
        finally:
            with suppress(StoreUnavailable):
                await leadership.resign()

    async def _switch_on(self, export_id: str) -> Undone:
        done = Undone(export_id)
        async for ids in self._exports.switched_off(export_id):
            for start in range(0, len(ids), _AT_ONCE):
                await asyncio.gather(*(self._one(each, done) for each in ids[start : start + _AT_ONCE]))
        if not done.left_off:
            await self._exports.close(export_id)
        return done

    async def _one(self, connection_id: str, done: Undone) -> None:
        try:
            connection = await self._records.read(connection_id)
            if connection is not None and connection.status is Status.DISABLED:
                await switch(self._changes, connection, off=False)
                done.switched_on += 1
        except StoreUnavailable:
            raise
        except BrokerError as error:
            log.error("export.left_switched_off", connection_id=connection_id, reason=error.detail)
            done.left_off.append(connection_id)
            return
        await self._exports.drop(done.export, connection_id)
