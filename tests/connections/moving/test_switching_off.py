"""Switching connections off as they are exported: what leaves is the last credential that there was here."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
import redis

from broker.app.heart import Heart
from broker.connections.changes import Change, Changes
from broker.connections.moving import switching_off, undoing
from broker.connections.moving.exporting import Exported, Exporting, Selection
from broker.connections.moving.row import Row, RowFault
from broker.connections.moving.switching_off import SwitchingOff
from broker.errors import Conflict, NotFound, StoreUnavailable
from broker.models.access import Reach
from broker.models.connection import Connection, Credential, Status
from broker.models.ids import new_id
from broker.vault import names
from broker.vault.exports import StoredExports
from broker.vault.leases import Lease
from tests.connections.moving.sealing import OURS, read, sealer_for
from tests.vault.samples import a_connection, an_event


async def made(heart: Heart, **changes: object) -> Connection:
    """A stored connection."""
    connection = a_connection(**changes)
    await heart.records.create(connection, Credential("access-1", "refresh-1"), an_event(connection))
    return connection


def switching_of(heart: Heart) -> SwitchingOff:
    """As the command makes it."""
    return SwitchingOff(heart.store, heart.records, heart.leases, heart.changes, heart.clock, new_id("exp"))


async def exported(
    heart: Heart, switching: SwitchingOff, lines: list[bytes] | None = None
) -> tuple[list[Row], Exported]:
    """What is in the file, and what came of it."""
    parts = (heart.store, heart.records, heart.parked, heart.journal, heart.bookkeeping, heart.clock)
    lines = [] if lines is None else lines
    async with switching.going_on():
        exporting = Exporting(*parts, switching)
        done = await exporting.export(Selection(), sealer_for(), lines.append, lambda *_: None, recipient="x")
        await switching.done()
    return [row for row in read(b"".join(lines), OURS) if isinstance(row, Row)], done


async def status_of(heart: Heart, connection: Connection) -> Status:
    """As it is here."""
    found = await heart.records.read(connection.id)
    assert found is not None
    return found.status


async def test_a_refresh_under_way_is_waited_for(heart: Heart) -> None:
    """Its new refresh token is the one that leaves; the one before is spent by then."""
    connection = await made(heart)
    lease = await heart.leases.take(connection, "refresher")
    assert isinstance(lease, Lease)
    exporting = asyncio.create_task(exported(heart, switching_of(heart)))
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
    rows, done = await exported(heart, switching_of(heart))
    assert rows == []
    assert [each.id for each in done.skipped] == [connection.id]
    assert await heart.records.read(connection.id) == connection


async def test_one_that_was_refreshed_all_the_same_is_named(heart: Heart, raw_store: redis.Redis) -> None:
    """Somebody had read it as active just before: the file holds a refresh token that may be spent."""
    connection, other = await made(heart), await made(heart)
    switching = switching_of(heart)
    await switching.off(connection.id)
    await switching.off(other.id)
    raw_store.hset(names.record(connection.id), "g", 2)
    assert await switching.moved_on({connection.id: 1, other.id: 1}) == [connection.id]


async def test_what_is_not_active_stays_as_it_is(heart: Heart) -> None:
    """Nobody refreshes it, and switched off it would forget what it was."""
    connection = await made(heart, status=Status.REAUTH_REQUIRED)
    switching = switching_of(heart)
    ((row,), _) = await exported(heart, switching)
    assert row.restored is not None
    assert row.restored.connection == connection
    assert await heart.records.read(connection.id) == connection
    assert switching.count == 0
    await heart.moving.undoing.undo(switching.export_id)
    assert await heart.records.read(connection.id) == connection


async def test_what_is_not_in_the_file_stays_on(heart: Heart, raw_store: redis.Redis) -> None:
    """A broken seal, a credential that is gone, one that is too large: nobody else would serve it."""
    good, broken, gone = await made(heart), await made(heart), await made(heart)
    raw_store.hset(names.record(broken.id), "a", b"broken")
    raw_store.hdel(names.record(gone.id), "a", "s")
    large = a_connection(provider_data={"x": "y" * 1_600_000})
    await heart.records.create(large, Credential("access-1", "refresh-1"), an_event(large))
    switching = switching_of(heart)
    ((row,), done) = await exported(heart, switching)
    assert row.source_id == good.id
    assert {each.id for each in done.skipped} == {broken.id, gone.id, large.id}
    assert await status_of(heart, good) is Status.DISABLED
    for each in (broken, gone, large):
        assert await status_of(heart, each) is Status.ACTIVE
    assert switching.count == 1
    undone = await heart.moving.undoing.undo(switching.export_id)
    assert (undone.switched_on, undone.left_off) == (1, [])


async def test_no_whole_file_leaves_where_its_events_could_not_be_settled(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever can fail fails before the last line: what is undone then is in no file that anybody could take in."""
    connection, switching, lines = await made(heart), switching_of(heart), list[bytes]()

    async def away(_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(heart.bookkeeping), "settle_all", away)
        with pytest.raises(StoreUnavailable):
            await exported(heart, switching, lines)
    assert not switching.left
    assert isinstance(list(read(b"".join(lines), OURS))[-1], RowFault)
    assert (await heart.moving.undoing.undo(switching.export_id)).switched_on == 1
    assert await status_of(heart, connection) is Status.ACTIVE


async def test_a_second_export_carries_them_as_they_were(heart: Heart) -> None:
    """What the first one switched off is active in the second file, too; what somebody switched off is not, be it after
    it was switched on again."""
    ours, theirs, again = await made(heart), await made(heart, status=Status.DISABLED), await made(heart)
    await exported(heart, switching_of(heart))
    for status in ("active", "disabled"):
        heart.clock.advance(seconds=1)  # type: ignore[attr-defined]
        change = Change(frozenset({"status"}), status=status)
        found = await heart.records.read(again.id)
        assert found is not None
        await heart.changes.apply(found, change, reach=Reach("acme", providers=None), client_id=None, request_id=None)
    rows, _ = await exported(heart, switching_of(heart))
    found_now = {row.restored.connection.id: row.restored.connection.status for row in rows if row.restored}
    assert found_now == {ours.id: Status.ACTIVE, theirs.id: Status.DISABLED, again.id: Status.DISABLED}


async def test_an_export_that_was_broken_off_is_undone_by_whoever_comes_next(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its file and without a trace of its process; one that goes on is left alone, and so is one that ended."""
    monkeypatch.setattr(undoing, "_PATIENCE", 0.1)
    dead, living, ended = [await made(heart) for _ in range(3)]
    first, second, third = (switching_of(heart) for _ in range(3))
    with suppress(RuntimeError):
        async with first.going_on():
            await first.off(dead.id)
            raise RuntimeError("killed")
    async with second.going_on():
        await second.off(living.id)
        async with third.going_on():
            await third.off(ended.id)
            await third.leave()
            await third.done()
        undone, uncertain = await heart.moving.undoing.undo_broken_off()
        assert ([(each.export, each.switched_on) for each in undone], uncertain) == ([(first.export_id, 1)], [])
        with pytest.raises(Conflict, match="under way"):
            await heart.moving.undoing.undo_when_asked(second.export_id)
        await second.leave()
        await second.done()
    assert await status_of(heart, dead) is Status.ACTIVE
    assert [await status_of(heart, each) for each in (living, ended)] == [Status.DISABLED, Status.DISABLED]
    assert await heart.moving.undoing.undo_broken_off() == ([], [])


async def test_a_running_broker_undoes_what_was_broken_off(heart: Heart) -> None:
    """Within a minute or so, without anybody who exports again; it waits for nobody who is at work."""
    connection, other = await made(heart), await made(heart)
    dead, living = switching_of(heart), switching_of(heart)
    async with dead.going_on():
        await dead.off(connection.id)
    async with living.going_on():
        await living.off(other.id)
        assert [await heart.moving.undoing.step(), await heart.moving.undoing.step()] == [1, 0]
    assert [await status_of(heart, each) for each in (connection, other)] == [Status.ACTIVE, Status.DISABLED]


async def test_an_export_that_stood_still_and_was_undone_makes_no_whole_file(heart: Heart) -> None:
    """It wakes up, and its connections are served here again: with its file they would be at two brokers."""
    connection, switching = await made(heart), switching_of(heart)
    await StoredExports(heart.store).begin(switching.export_id, heart.clock())
    await switching.off(connection.id)
    assert [each.switched_on for each in (await heart.moving.undoing.undo_broken_off())[0]] == [1]
    with pytest.raises(Conflict, match="broken off"):
        await switching.leave()
    with pytest.raises(Conflict, match="broken off"):
        await switching.check()
    assert not switching.left
    # What it has switched off after that is found as well.
    await switching.off(connection.id)
    assert [each.switched_on for each in (await heart.moving.undoing.undo_broken_off())[0]] == [1]
    assert await status_of(heart, connection) is Status.ACTIVE


async def test_one_that_died_at_its_very_end_is_named_and_undone_when_asked(heart: Heart) -> None:
    """Nobody here knows whether its file is there."""
    connection, switching = await made(heart), switching_of(heart)
    async with switching.going_on():
        await switching.off(connection.id)
        await switching.leave()
    assert await heart.moving.undoing.undo_broken_off() == ([], [switching.export_id])
    assert await status_of(heart, connection) is Status.DISABLED
    assert (await heart.moving.undoing.undo_when_asked(switching.export_id)).switched_on == 1
    assert await status_of(heart, connection) is Status.ACTIVE
    with pytest.raises(NotFound):
        await heart.moving.undoing.known(new_id("exp"))


async def test_who_is_told_to_stop_leaves_nothing_off(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what had been sent to the store already."""
    several = [await made(heart) for _ in range(20)]
    switching = switching_of(heart)
    begun, cancelled, switch = asyncio.Event(), asyncio.Event(), switching_off.switch
    finished: list[str] = []

    async def held_up(changes: Changes, connection: Connection, *, off: bool) -> Connection:
        begun.set()
        await cancelled.wait()
        finished.append(connection.id)
        return await switch(changes, connection, off=off)

    monkeypatch.setattr(switching_off, "switch", held_up)
    exporting = asyncio.create_task(exported(heart, switching))
    await begun.wait()
    exporting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exporting
    cancelled.set()
    await switching.settled()
    assert len(finished) == switching.count > 0
    await heart.moving.undoing.undo(switching.export_id)
    assert {await status_of(heart, each) for each in several} == {Status.ACTIVE}
    assert await heart.store.execute("HKEYS", names.export(switching.export_id)) == [b"begun", b"outcome"]
