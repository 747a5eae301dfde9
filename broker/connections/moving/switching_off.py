"""Switching connections off as they are exported, so that only one broker ever refreshes them.

Two that do, with one refresh token, end the grant at providers that notice (RFC 9700 §4.14.2). A connection is switched
off under its refresh lease: no refresh is under way then, and none begins, so what is read next is its last credential.

What is switched off is noted before, in the store: where this process dies, somebody else can undo it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from broker.clock import Clock
from broker.connections.changes import Change, Changes
from broker.errors import Conflict, StoreUnavailable
from broker.models.access import Reach
from broker.models.connection import Connection, Status
from broker.models.ids import new_id
from broker.vault.exports import StoredExports
from broker.vault.leadership import Leadership
from broker.vault.leases import Lease, Leases
from broker.vault.records import Records
from broker.vault.redis.store import Store

_LOOKS_EVERY: Final = 0.25
_PATIENCE: Final = 60.0
"""Seconds that a refresh under way may take, and a lease that somebody left behind."""
_RENEWED_EVERY: Final = 4.0
"""Seconds; the lead lasts several times as long."""
_AT_ONCE: Final = 100
_UNDONE: Final = "the export was taken for broken off while it stood still, and undone; begin it again"


class SwitchingOff:
    """Switches off, for one export."""

    def __init__(
        self, store: Store, records: Records, leases: Leases, changes: Changes, clock: Clock, export_id: str
    ) -> None:
        self.export_id = export_id
        self._store = store
        self._records = records
        self._leases = leases
        self._changes = changes
        self._clock = clock
        self._exports = StoredExports(store)
        self._owner = new_id("exporting")
        self._switched: dict[str, None] = {}
        self._under_way: set[asyncio.Task[bool]] = set()
        self._left = False

    @property
    def count(self) -> int:
        """How many were switched off."""
        return len(self._switched)

    @property
    def left(self) -> bool:
        """Whether the file may be whole, so that the other broker may have them."""
        return self._left

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """As long as the block runs, others see that somebody works on this export.

        :raises StoreUnavailable: it can't be noted, so nothing may be switched off.
        """
        leadership, name = Leadership(self._store), lead_of(self.export_id)
        await leadership.leads(name)
        await self._exports.begin(self.export_id, self._clock())
        renewing = asyncio.create_task(_renew(leadership, name), name="hold an export")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(StoreUnavailable):
                await leadership.resign()

    async def off(self, connection_id: str) -> None:
        """Switch the connection off if it is active, once no refresh of it is under way.

        :raises Conflict: a refresh doesn't end, or somebody else keeps changing the connection.
        """
        until = asyncio.get_running_loop().time() + _PATIENCE
        while asyncio.get_running_loop().time() < until:
            connection = await self._records.read(connection_id)
            if connection is None or connection.status is not Status.ACTIVE:
                return
            # Who is told to stop here doesn't stop in the middle: what was sent to the store may happen all the same.
            step = asyncio.create_task(self._off(connection))
            self._under_way.add(step)
            step.add_done_callback(self._under_way.discard)
            if await asyncio.shield(step):
                return
            await asyncio.sleep(_LOOKS_EVERY)
        raise Conflict("it is being refreshed and could not be switched off")

    async def _off(self, connection: Connection) -> bool:
        """Whether it is done; not while somebody refreshes it."""
        lease = await self._leases.take(connection, self._owner)
        if not isinstance(lease, Lease):
            return False
        try:
            self._switched[connection.id] = None
            await self._exports.note(self.export_id, connection.id)
            after = await switch(self._changes, connection, off=True)
            await self._exports.note(self.export_id, connection.id, after.updated_at)
        finally:
            await self._leases.drop(lease)
        return True

    async def back(self, connection_id: str) -> None:
        """Switch one on again that the file doesn't hold after all; one that isn't off by this export stays.

        :raises Conflict, SealBroken: it can't be; it is noted still.
        """
        if connection_id not in self._switched:
            return
        connection = await self._records.read(connection_id)
        if connection is not None and connection.status is Status.DISABLED:
            await switch(self._changes, connection, off=False)
        await self._exports.drop(self.export_id, connection_id)
        del self._switched[connection_id]

    def was_on(self, connection_id: str) -> bool:
        """Whether it was active before, so that it is to be so in the other broker."""
        return connection_id in self._switched

    async def moved_on(self, generations: Mapping[str, int]) -> list[str]:
        """Those of which another credential is here than the one of that generation: somebody who had looked at the
        connection just before it was switched off has refreshed it after that."""
        found: list[str] = []
        every = list(self._switched)
        for start in range(0, len(every), _AT_ONCE):
            some = await asyncio.gather(*map(self._records.read, every[start : start + _AT_ONCE]))
            found += [one.id for one in some if one and generations.get(one.id, one.generation) != one.generation]
        return found

    async def check(self) -> None:
        """:raises Conflict: somebody has taken this export for broken off, and switches its connections on again."""
        export = await self._exports.read(self.export_id)
        if export is None or export.outcome == "undone":
            raise Conflict(_UNDONE)

    async def leave(self) -> None:
        """To be called before the line that makes the file whole is handed out: from here on nobody undoes unasked.

        :raises Conflict: somebody has taken this export for broken off, and switches its connections on again.
        """
        if not await self._exports.decide(self.export_id, "left"):
            raise Conflict(_UNDONE)
        self._left = True

    async def done(self) -> None:
        """To be called when the file is there."""
        await self._exports.overrule(self.export_id, "done")
        await self._exports.close(self.export_id)

    async def settled(self) -> None:
        """When nothing is under way any more, also of what was told to stop."""
        while self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)


def lead_of(export_id: str) -> str:
    """What who works on the export leads."""
    return f"export {export_id}"


async def switch(changes: Changes, connection: Connection, *, off: bool) -> Connection:
    """Switch a connection off or on, as the operator; answers it as it is then.

    :raises Conflict: somebody else keeps changing it.
    """
    change = Change(frozenset({"status"}), status="disabled" if off else "active")
    reach = Reach(connection.tenant, providers=None)
    return await changes.apply(connection, change, reach=reach, client_id=None, request_id=None)


async def _renew(leadership: Leadership, name: str) -> None:
    while True:
        await asyncio.sleep(_RENEWED_EVERY)
        with suppress(StoreUnavailable):
            await leadership.leads(name)
