"""Taking connections out: every one that is wanted, whole and sealed to somebody's key, its record written first.

The store is walked as it is, page by page, while the broker works: what is made meanwhile may be missing, and what is
refreshed meanwhile is older in the file than here. No line is handed out before the event that tells of it is stored.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.moving.members import Untakeable
from broker.connections.moving.sealed_file import Sealer
from broker.connections.moving.switching_off import SwitchingOff
from broker.connections.moving.whole import document_of, restored_of
from broker.errors import Conflict, SealBroken
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.models.ids import is_id
from broker.vault import names
from broker.vault.exports import StoredExports
from broker.vault.journal import Journal
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.redis.store import Store

_AT_ONCE: Final = 100
"""Connections that are read together."""
_SETTLE_EVERY: Final = 5_000
"""Events after which they move on to the journal: where no broker runs, nobody else does it."""

_T = TypeVar("_T")
Write = Callable[[bytes], None]
"""Takes a line."""
Tell = Callable[[str, int, int | None], None]
"""Called with the step, how many it is done with, and how many there are, where that is known."""
_Whole = tuple[Connection, dict[str, Any]]
"""A connection and its document."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which connections are wanted; ``None``: whichever."""

    tenant: str | None = None
    provider: str | None = None
    subject: str | None = None
    status: Status | None = None

    def takes(self, connection: Connection) -> bool:
        """Whether it is wanted. One that was disconnected never is: there is nothing left of it."""
        return connection.status is not Status.REVOKED and all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.tenant, connection.tenant),
                (self.provider, connection.provider),
                (self.subject, connection.subject),
                (self.status, connection.status),
            )
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A connection that couldn't be taken along, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class Exported:
    """What came of it."""

    skipped: list[Skipped] = field(default_factory=list)
    generations: dict[str, int] = field(default_factory=dict)
    """Each exported connection, and which of its credentials stands in the file."""


class Exporting:
    """Exports connections."""

    def __init__(
        self,
        store: Store,
        records: Records,
        parked: Parked,
        journal: Journal,
        bookkeeping: Bookkeeping,
        clock: Clock,
        switching_off: SwitchingOff | None = None,
    ) -> None:
        """:param switching_off: switches each connection off before it is read; ``None``: they stay as they are."""
        self._store = store
        self._records = records
        self._parked = parked
        self._journal = journal
        self._bookkeeping = bookkeeping
        self._clock = clock
        self._switching_off = switching_off
        self._exports = StoredExports(store)
        self._earlier: list[str] = []

    async def export(
        self, selection: Selection, sealer: Sealer, write: Write, tell: Tell, *, recipient: str
    ) -> Exported:
        """Hand all lines of a file to ``write``.

        :param recipient: the thumbprint of the key that it is sealed to, for the record.
        :raises Conflict: it was taken for broken off by somebody else, and undone.
        :raises StoreUnavailable: the store can't be read now, or the events not be recorded. The lines so far are no
            whole file.
        :raises OSError: ``write`` couldn't.
        """
        done, settled = Exported(), 0
        # Those of which it is told nowhere else that they were active are known by what switched them off.
        self._earlier = [each.id for each in await self._exports.all(self._clock()) if each.outcome != "undone"]
        write(sealer.first())
        async for page in self._walk():
            for connection, line in await self._lines(page, selection, sealer, done, recipient):
                write(line)
                done.generations[connection.id] = connection.generation
            tell("exporting", len(done.generations), None)
            if len(done.generations) >= settled + _SETTLE_EVERY:
                settled = len(done.generations)
                await self._bookkeeping.settle_all()
        if self._switching_off is not None:
            moved_on = await self._switching_off.moved_on(done.generations)
            done.skipped += [Skipped(each, "it was refreshed after it was exported") for each in moved_on]
        await self._bookkeeping.settle_all()
        # Nothing but this line makes the file whole, and nothing is to be done after it that could fail.
        if self._switching_off is not None:
            await self._switching_off.leave()
        write(sealer.last())
        return done

    async def _lines(
        self, page: Sequence[str], selection: Selection, sealer: Sealer, done: Exported, recipient: str
    ) -> list[tuple[Connection, bytes]]:
        """The lines of a page's connections that are wanted. Each has its event, and those that have none are on."""
        if self._switching_off is not None:
            await self._switching_off.check()
        found = await _all_of(self._read(each, selection, done) for each in page)
        lines = [line for whole in found if whole is not None and (line := self._sealed(whole, sealer, done))]
        await _all_of(self._note(connection, sealer.export_id, recipient) for connection, _ in lines)
        if self._switching_off is not None:
            kept = {connection.id for connection, _ in lines}
            await _all_of(self._back(each, done) for each in page if each not in kept)
        return lines

    async def _walk(self) -> AsyncIterator[list[str]]:
        """The ids of all connections, each once, some at a time."""
        # The store may name a key twice while it grows or shrinks, and no reader takes a connection twice.
        seen = set[str]()
        async for keys in self._store.scan(f"{names.PREFIX}{{*}}:con_*"):
            found = [name for name in (key.rpartition(":")[2] for key in keys) if is_id("con", name)]
            fresh = [name for name in dict.fromkeys(found) if name not in seen]
            seen.update(fresh)
            for start in range(0, len(fresh), _AT_ONCE):
                yield fresh[start : start + _AT_ONCE]

    async def _read(self, connection_id: str, selection: Selection, done: Exported) -> _Whole | None:
        try:
            # First without its secrets: those of others are not opened.
            connection = await self._records.read(connection_id)
            if connection is None or not selection.takes(await self._as_it_was(connection)):
                return None
            if self._switching_off is not None:
                await self._switching_off.off(connection_id)
            found = await self._records.read_with_credential(connection_id)
            parked = await self._parked.candidates(connection)
        except (SealBroken, Conflict) as error:
            done.skipped.append(Skipped(connection_id, error.detail))
            return None
        if found is None:
            return None
        connection, credential = found
        connection = await self._as_it_was(connection)
        if not selection.takes(connection):
            return None
        if credential is None:
            done.skipped.append(Skipped(connection_id, "its credential is gone"))
            return None
        document = document_of(connection, credential, parked.refresh_tokens)
        try:
            # Judged as its reader will: one line that it refuses would keep the whole file out.
            restored_of(document)
        except Untakeable as fault:
            done.skipped.append(Skipped(connection_id, f"no broker would take it in: {fault.field} {fault.message}"))
            return None
        return connection, document

    async def _as_it_was(self, connection: Connection) -> Connection:
        """The connection before this export, or one before it, switched it off; one of anybody else's stays so."""
        if connection.status is not Status.DISABLED:
            return connection
        ours = self._switching_off is not None and self._switching_off.was_on(connection.id)
        if ours or await self._exports.did_switch_off(self._earlier, connection.id, connection.updated_at):
            return replace(connection, status=Status.ACTIVE)
        return connection

    async def _back(self, connection_id: str, done: Exported) -> None:
        """Nobody would serve what is switched off here and not in the file."""
        if self._switching_off is None:
            return
        try:
            await self._switching_off.back(connection_id)
        except (SealBroken, Conflict) as error:
            done.skipped.append(Skipped(connection_id, f"it is switched off here, and not in the file: {error.detail}"))

    @staticmethod
    def _sealed(whole: _Whole, sealer: Sealer, done: Exported) -> tuple[Connection, bytes] | None:
        connection, document = whole
        try:
            return connection, sealer.line(document)
        except ValueError as error:
            done.skipped.append(Skipped(connection.id, str(error)))
            return None

    async def _note(self, connection: Connection, export_id: str, recipient: str) -> None:
        event = Event.about("connection.exported", connection, at=self._clock(), export=export_id, recipient=recipient)
        await self._journal.note(event)


async def _all_of(steps: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """What they answer, at the same time. Where one fails the others come to their end first: nothing goes on behind
    the back of whoever undoes it."""
    found = await asyncio.gather(*steps, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]
