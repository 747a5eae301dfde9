"""Switching connections off as they are exported, so that only one broker ever refreshes them.

Two that do, with one refresh token, end the grant at providers that notice (RFC 9700 §4.14.2). A connection is switched
off under its refresh lease: no refresh is under way then, and none begins, so what is read next is its last credential.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from broker.connections.changes import Change, Changes
from broker.errors import BrokerError, Conflict
from broker.models.access import Reach
from broker.models.connection import Connection, Status
from broker.models.ids import new_id
from broker.vault.leases import Lease, Leases
from broker.vault.records import Records

_LOOKS_EVERY: Final = 0.25
_PATIENCE: Final = 60.0
"""Seconds that a refresh under way may take, and a lease that somebody left behind."""
_AT_ONCE: Final = 100

log = structlog.get_logger(__name__)


class SwitchingOff:
    """Switches off, and on again if nothing came of it."""

    def __init__(self, records: Records, leases: Leases, changes: Changes) -> None:
        self._records = records
        self._leases = leases
        self._changes = changes
        self._owner = new_id("exporting")
        self._switched: dict[str, None] = {}

    @property
    def count(self) -> int:
        """How many were switched off."""
        return len(self._switched)

    async def off(self, connection_id: str) -> None:
        """Switch the connection off if it is active, once no refresh of it is under way.

        :raises Conflict: a refresh doesn't end, or somebody else keeps changing the connection.
        """
        until = asyncio.get_running_loop().time() + _PATIENCE
        while asyncio.get_running_loop().time() < until:
            connection = await self._records.read(connection_id)
            if connection is None or connection.status is not Status.ACTIVE:
                return
            lease = await self._leases.take(connection, self._owner)
            if isinstance(lease, Lease):
                try:
                    await self._switch(connection, off=True)
                    self._switched[connection_id] = None
                finally:
                    await self._leases.drop(lease)
                return
            await asyncio.sleep(_LOOKS_EVERY)
        raise Conflict("it is being refreshed and could not be switched off")

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

    async def undo(self) -> None:
        """Switch them on again: there is no file. What can't be is named in the log."""
        for connection_id in self._switched:
            try:
                connection = await self._records.read(connection_id)
                if connection is not None and connection.status is Status.DISABLED:
                    await self._switch(connection, off=False)
            except BrokerError as error:
                log.error("export.left_switched_off", connection_id=connection_id, reason=error.detail)

    async def _switch(self, connection: Connection, *, off: bool) -> None:
        change = Change(frozenset({"status"}), status="disabled" if off else "active")
        reach = Reach(connection.tenant, providers=None)
        await self._changes.apply(connection, change, reach=reach, client_id=None, request_id=None)
