"""Switching connections off as they are exported: what leaves is the last credential that there was here."""

import asyncio
from dataclasses import replace

import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving import switching_off
from broker.connections.moving.exporting import Exported, Exporting, Selection
from broker.connections.moving.row import Row
from broker.connections.moving.switching_off import SwitchingOff
from broker.models.connection import Connection, Credential, Status
from broker.vault import names
from broker.vault.leases import Lease
from tests.connections.moving.sealing import OURS, read, sealer_for
from tests.vault.samples import a_connection, an_event


async def made(heart: Heart, **changes: object) -> Connection:
    """A stored connection."""
    connection = a_connection(**changes)
    await heart.records.create(connection, Credential("access-1", "refresh-1"), an_event(connection))
    return connection


async def exported(heart: Heart, switching: SwitchingOff) -> tuple[list[Row], Exported]:
    """What is in the file, and what came of it."""
    parts = (heart.store, heart.records, heart.parked, heart.journal, heart.bookkeeping, heart.clock)
    lines: list[bytes] = []
    exporting = Exporting(*parts, switching)
    done = await exporting.export(Selection(), sealer_for(), lines.append, lambda *_: None, recipient="x")
    return [row for row in read(b"".join(lines), OURS) if isinstance(row, Row)], done


async def test_a_refresh_under_way_is_waited_for(heart: Heart) -> None:
    """Its new refresh token is the one that leaves; the one before is spent by then."""
    connection = await made(heart)
    lease = await heart.leases.take(connection, "refresher")
    assert isinstance(lease, Lease)
    exporting = asyncio.create_task(exported(heart, SwitchingOff(heart.records, heart.leases, heart.changes)))
    await asyncio.wait({exporting}, timeout=0.5)
    assert not exporting.done()
    renewed = replace(connection, generation=2)
    await heart.records.replace(
        connection, renewed, Credential("access-2", "refresh-2"), an_event(connection), lease=lease
    )
    await heart.leases.drop(lease)
    ((row,), done) = await exporting
    assert row.restored is not None
    assert row.restored.credential == Credential("access-2", "refresh-2")
    assert (row.restored.connection.status, done.skipped) == (Status.ACTIVE, [])
    here = await heart.records.read(connection.id)
    assert here is not None
    assert here.status is Status.DISABLED


async def test_a_refresh_that_does_not_end_keeps_the_connection_out(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and stays as it is."""
    monkeypatch.setattr(switching_off, "_PATIENCE", 0.3)
    connection = await made(heart)
    await heart.leases.take(connection, "refresher")
    rows, done = await exported(heart, SwitchingOff(heart.records, heart.leases, heart.changes))
    assert rows == []
    assert [each.id for each in done.skipped] == [connection.id]
    assert await heart.records.read(connection.id) == connection


async def test_one_that_was_refreshed_all_the_same_is_named(heart: Heart, raw_store: redis.Redis) -> None:
    """Somebody had read it as active just before: the file holds a refresh token that may be spent."""
    connection, other = await made(heart), await made(heart)
    switching = SwitchingOff(heart.records, heart.leases, heart.changes)
    await switching.off(connection.id)
    await switching.off(other.id)
    raw_store.hset(names.record(connection.id), "g", 2)
    assert await switching.moved_on({connection.id: 1, other.id: 1}) == [connection.id]


async def test_what_is_not_active_stays_as_it_is(heart: Heart) -> None:
    """Nobody refreshes it, and switched off it would forget what it was."""
    connection = await made(heart, status=Status.REAUTH_REQUIRED)
    switching = SwitchingOff(heart.records, heart.leases, heart.changes)
    ((row,), _) = await exported(heart, switching)
    assert row.restored is not None
    assert row.restored.connection == connection
    assert await heart.records.read(connection.id) == connection
    assert switching.count == 0
    await switching.undo()
    assert await heart.records.read(connection.id) == connection
