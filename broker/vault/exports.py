"""Exports that switch connections off: which ones each switched off, so that whoever comes later can undo it.

A hash per export. Its field ``outcome`` is decided once, whoever comes first: ``left`` by the export itself, before it
hands out the line that makes a file whole; ``undone`` by whoever finds that nobody goes on with it. So no file is
whole whose connections were switched on again unasked. ``left`` becomes ``done`` when the file is there. Every other
field but ``begun`` is the id of a connection, with the time (ms) of the change that switched it off; empty: it is about
to be.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from broker.models.ids import is_id
from broker.vault import names
from broker.vault.redis.store import Store

Outcome = Literal["left", "done", "undone"]

KEPT: Final = 90 * 86_400_000
"""Milliseconds that an export is known after its end: until then it can be undone."""
_BEGINS_WITHIN: Final = 86_400_000
"""Milliseconds: one that was listed so long ago, and has no hash, is forgotten; a younger one may be just beginning."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class StoredExport:
    """An export that switches connections off."""

    id: str
    begun: int
    """When (ms)."""
    outcome: Outcome | None
    """``None``: it is under way, or was broken off."""


class StoredExports:
    """Notes exports. Each step is one command on one key, and can be repeated."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, export_id: str, now: int) -> None:
        """Make it known, before it switches anything off."""
        await self._store.execute("ZADD", names.EXPORTS, now, export_id)
        await self._store.execute("HSET", names.export(export_id), "begun", now)

    async def note(self, export_id: str, connection_id: str, at: int | None = None) -> None:
        """Say that it is about to switch the connection off (``None``), or did so at ``at`` (ms)."""
        await self._store.execute("HSET", names.export(export_id), connection_id, "" if at is None else at)

    async def drop(self, export_id: str, connection_id: str) -> None:
        """Say that the connection is not switched off by it any more."""
        await self._store.execute("HDEL", names.export(export_id), connection_id)

    async def decide(self, export_id: str, outcome: Literal["left", "undone"]) -> bool:
        """Whether it comes out so: nobody has decided otherwise before."""
        key = names.export(export_id)
        await self._store.execute("HSETNX", key, "outcome", outcome)
        # Looked up also after success: where an answer is lost and the step repeated, it says no.
        return bool(await self._store.execute("HGET", key, "outcome") == outcome.encode())

    async def overrule(self, export_id: str, outcome: Literal["done", "undone"]) -> None:
        """Say how it came out, by who knows better: its file is there, or there is none."""
        await self._store.execute("HSET", names.export(export_id), "outcome", outcome)

    async def close(self, export_id: str) -> None:
        """Forget it after :data:`KEPT`."""
        await self._store.execute("PEXPIRE", names.export(export_id), KEPT)

    async def read(self, export_id: str) -> StoredExport | None:
        """The export, if it is known."""
        begun, outcome = await self._store.execute("HMGET", names.export(export_id), "begun", "outcome")
        if begun is None:
            return None
        return StoredExport(export_id, int(begun), cast("Outcome", outcome.decode()) if outcome else None)

    async def all(self, now: int) -> list[StoredExport]:
        """All that are known, oldest first."""
        found = []
        over = await self._store.execute("ZRANGEBYSCORE", names.EXPORTS, "-inf", now - _BEGINS_WITHIN)
        for member in await self._store.execute("ZRANGE", names.EXPORTS, 0, -1):
            export = await self.read(member.decode())
            if export is not None:
                found.append(export)
            elif member in over:
                await self._store.execute("ZREM", names.EXPORTS, member)
        return found

    async def switched_off(self, export_id: str) -> AsyncIterator[list[str]]:
        """The ids of connections that it switched off, or was about to, some at a time."""
        cursor: bytes | int = 0
        while True:
            reply = await self._store.execute("HSCAN", names.export(export_id), cursor, "COUNT", _AT_ONCE)
            cursor, stored = reply
            fields = list(stored) if isinstance(stored, dict) else stored[::2]
            yield [name for name in (field.decode() for field in fields) if is_id("con", name)]
            if int(cursor) == 0:
                return

    async def did_switch_off(self, export_ids: Sequence[str], connection_id: str, at: int) -> bool:
        """Whether one of the exports made the change of the connection that was made at ``at`` (ms)."""
        for export_id in export_ids:
            noted = await self._store.execute("HGET", names.export(export_id), connection_id)
            if noted == str(at).encode():
                return True
        return False
