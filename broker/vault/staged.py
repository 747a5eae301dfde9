"""The connections that a batch brings, before they are anybody's and until they are taken back again."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from broker.errors import SealBroken, StoreUnavailable
from broker.models.connection import Connection, Credential, Status
from broker.vault import names, scripts
from broker.vault.batches import KEPT
from broker.vault.keyring import Keyring
from broker.vault.record_form import SHOWN, Brought, connection_of, staged_fields_of
from broker.vault.redis.store import Argument, Store

_SUBJECTS_OWN: Final = 1000
"""Connections of one subject that are looked at: far more than anybody has."""


How = Literal["look", "staged", "unchanged", "force"]
"""To remove nothing, what is nobody's yet, what has the credential that it came with, or whatever it has by now."""
Verdict = Literal["gone", "published", "ended", "busy", "changed", "removed", "forced"]
"""What became, or would become, of a connection that is to be removed; see ``batch_withdraw.lua``."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record, whoever's it is, or nobody's."""

    connection: Connection
    brought: Brought | None
    """``None``: no batch brought it."""
    published: bool
    """Whether its tenant has it."""


class Staged:
    """Stores, publishes and takes away what batches bring."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def stage(self, connection: Connection, credential: Credential, brought: Brought) -> bool:
        """Store a connection as nobody's, for a while. One that is there and of the batch stays as it is, whoever's.

        ``False``: the id is somebody's.
        """
        fields = staged_fields_of(self._keyring, connection, credential, brought)
        arguments: list[Argument] = [brought.batch, KEPT, *(part for pair in fields.items() for part in pair)]
        return bool(await self._store.run(scripts.BATCH_STAGE, [names.record(connection.id)], arguments))

    async def keep(self, batch_id: str, connection_id: str, *, for_ever: bool) -> bool:
        """Let a staged connection not go by itself, or not soon; ``False``: it isn't there, or published already."""
        arguments: list[Argument] = [batch_id, "" if for_ever else KEPT]
        return bool(await self._store.run(scripts.BATCH_STAGE, [names.record(connection_id)], arguments) == 1)

    async def read(self, connection_id: str) -> Found | None:
        """The record of this id, be it staged or not.

        :raises SealBroken: it is damaged.
        """
        reply = await self._store.execute("HMGET", names.record(connection_id), *SHOWN, "b", "bt")
        tenant, shown, brought, owed = reply[0], reply[1 : len(SHOWN)], reply[-2], reply[-1]
        connection = connection_of(connection_id, [tenant or owed, *shown])
        if connection is None:
            return None
        return Found(connection, Brought.decode(brought) if brought else None, published=bool(tenant))

    async def of_subject(self, tenant: str, subject: str) -> list[Connection]:
        """The connections that a subject has now; what can't be read is passed over."""
        key = names.subject_index(tenant, subject)
        listed = await self._store.execute("ZRANGE", key, 0, _SUBJECTS_OWN - 1)
        found = await asyncio.gather(*(self._readable(member.decode()) for member in listed))
        return [
            one.connection for one in found if one is not None and one.published and one.connection.tenant == tenant
        ]

    async def _readable(self, connection_id: str) -> Found | None:
        try:
            return await self.read(connection_id)
        except SealBroken:
            return None

    async def publish(self, connection: Connection, brought: Brought) -> bool:
        """Give a staged connection to its tenant; ``False``: it is gone, or was brought anew. Repeating it changes
        nothing.

        :raises StoreUnavailable: also where too few replicas confirm it.
        """
        health, sleeps = connection.health, connection.status is Status.DISABLED
        arguments: list[Argument] = [
            brought.encode(),
            connection.id,
            "" if sleeps else health.next_refresh_at or "",
            "" if sleeps else health.next_check_at or "",
        ]
        keys = [names.record(connection.id), names.due(connection.id)]
        written = await self._store.commit(scripts.BATCH_PUBLISH, keys, arguments)
        if not await written.confirmed:
            raise StoreUnavailable("too few replicas have what was imported")
        return bool(written.reply)

    async def withdraw(self, connection_id: str, brought: Brought, how: How) -> Verdict:
        """Remove a connection, staged or published, unless something speaks against it."""
        keys = (names.record, names.parked, names.lease, names.device_sessions, names.due)
        arguments: list[Argument] = [brought.encode(), connection_id, brought.generation, brought.parked, how]
        reply = await self._store.run(scripts.BATCH_WITHDRAW, [key(connection_id) for key in keys], arguments)
        verdict: Verdict = reply.decode()
        return verdict

    async def let_go(self, connection_id: str, brought: Brought) -> None:
        """Let a published connection be as any other, that no batch has brought."""
        await self._store.run(scripts.BATCH_LET_GO, [names.record(connection_id)], [brought.encode()])

    async def read_all(self, connection_ids: Collection[str]) -> list[Found | None]:
        """:meth:`read` of many."""
        return await asyncio.gather(*map(self.read, connection_ids))
