"""Which connections there are: listing by tenant and subject. The records are the truth, the indexes follow them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from broker.errors import SealBroken
from broker.models.connection import Connection, Status
from broker.vault import listing, names
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.siblings import account_index

_READ_AT_ONCE: Final = 100
_LOOKED_AT_MOST: Final = 2_000
"""How many entries one call looks at: a filter that matches little answers a short page and a cursor."""

log = structlog.get_logger(__name__)


class _Damaged:
    """Stands for a record that is there and can't be read; it stays on the lists."""


_DAMAGED: Final = _Damaged()


class Directory:
    """Lists connections, newest first."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records

    async def forget(self, connection_id: str) -> None:
        """Take an ended connection off every list, then erase its record. Repeating it changes nothing."""
        connection = await self._records.read(connection_id)
        if connection is None or connection.status is not Status.REVOKED:
            return
        await self._records.unindex(connection.id, connection.tenant, connection.subject)
        # Whose it is may have been learned, and a crash have kept it on the list of those that nobody knows.
        for index in {account_index(connection), account_index(replace(connection, account=None))}:
            await self._store.execute("SREM", index, connection.id)
        # Last: a crash before it leaves the record to be read again.
        await self._store.execute("DEL", names.record(connection.id))

    async def page(
        self,
        tenant: str,
        *,
        subject: str | None,
        wanted: Callable[[Connection], bool],
        cursor: str | None,
        limit: int,
    ) -> tuple[list[Connection], str | None]:
        """Up to ``limit`` connections that ``wanted`` accepts, and the cursor of the next page.

        :raises InvalidRequest: the cursor is none of ours.
        """
        key = names.tenant_index(tenant) if subject is None else names.subject_index(tenant, subject)
        after = listing.decode_cursor(cursor) if cursor else None
        found: list[Connection] = []
        for _ in range(_LOOKED_AT_MOST // _READ_AT_ONCE):
            entries = await listing.page(self._store, key, after=after, count=_READ_AT_ONCE)
            connections = await asyncio.gather(*(self._read(entry.member) for entry in entries))
            for entry, connection in zip(entries, connections, strict=True):
                after = entry
                if isinstance(connection, _Damaged):
                    continue
                if connection is None:
                    await self._records.unindex(entry.member, tenant, subject)
                elif connection.tenant == tenant and wanted(connection):
                    found.append(connection)
                    if len(found) == limit:
                        return found, after.encode()
            if len(entries) < _READ_AT_ONCE:
                return found, None
        following = await listing.page(self._store, key, after=after, count=1)
        if after is None or not following:
            return found, None
        # The last one looked at may be none of the caller's, and a cursor can be read.
        return found, listing.between(after, following[0]).encode()

    async def _read(self, connection_id: str) -> Connection | _Damaged | None:
        try:
            return await self._records.read(connection_id)
        except SealBroken as error:
            # One damaged record must not hide the others.
            log.error("directory.passed_over", connection_id=connection_id, reason=error.detail)
            return _DAMAGED
