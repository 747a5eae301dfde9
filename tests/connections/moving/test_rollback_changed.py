"""Taking an import back that is in use: what exists only here is never lost unasked, also not at the last moment."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving import rollback
from broker.connections.moving.rollback import Changed, RolledBack
from broker.errors import StoreUnavailable
from broker.models.connection import Connection
from broker.vault import names
from tests.connections.moving.taking_in import all_of, die_after, made, oauth_rows, silent, stored, take
from tests.journey import MakeClient
from tests.waiting import eventually


async def roll_back(heart: Heart, batch: str | None, *, force: bool = False) -> RolledBack:
    """``--rollback``."""
    return await heart.moving.rollbacks.roll_back(batch or "", silent, force=force)


async def refresh(heart: Heart, connection: Connection) -> None:
    """Get it another credential."""
    await heart.refresher.refresh(connection.id, connection.generation, request_id=None)


def after_the_look(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Let something happen between the look at all and the first that is taken."""
    look = rollback.Rollbacks._check_unchanged

    async def then(self: rollback.Rollbacks, *given: Any) -> None:
        await look(self, *given)
        await happens()

    monkeypatch.setattr(rollback.Rollbacks, "_check_unchanged", then)


@pytest.mark.parametrize("moment", ["before", "after the look"])
async def test_a_refresh_under_way_is_waited_for_and_then_counts(
    heart: Heart, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Without its record the refresher would end the grant, from which the other system lives, too."""
    rows = oauth_rows(sandbox, 2, "practice-strict")
    report = await take(heart, rows)
    connection = (await made(heart, report, rows))[0]
    begun: list[asyncio.Task[Any]] = []

    async def begin() -> None:
        sandbox.post("/control", json={"hold_token_answers": True}).raise_for_status()
        begun.append(asyncio.create_task(refresh(heart, connection)))
        await eventually(lambda: sandbox.get("/counters").json()["token"]["refresh_token"]["ok"] == 1)

    if moment == "before":
        await begin()
    else:
        after_the_look(monkeypatch, begin)
    looks = 0
    withdraw = heart.moving.rollbacks._staged.withdraw

    async def counted(*given: Any) -> Any:
        nonlocal looks
        verdict = await withdraw(*given)
        looks += verdict == "busy"
        return verdict

    monkeypatch.setattr(type(heart.moving.rollbacks._staged), "withdraw", lambda _, *given: counted(*given))
    taking = asyncio.create_task(roll_back(heart, report.batch))
    await eventually(lambda: looks > 1)
    sandbox.post("/control", json={"hold_token_answers": False}).raise_for_status()
    if moment == "before":
        with pytest.raises(Changed) as refused:
            await taking
        assert refused.value.connection_ids == (connection.id,)
        assert len(await all_of(heart)) == 2
    else:
        done = await taking
        assert (done.removed, done.kept) == (1, (connection.id,))
    await asyncio.gather(*begun)
    found = await heart.records.read_with_credential(connection.id)
    assert found is not None
    assert found[0].generation == connection.generation + 1
    # And what it has got is worth something.
    await refresh(heart, found[0])


async def test_a_refresh_that_does_not_end_keeps_its_connection_also_by_force(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, and is named."""
    monkeypatch.setattr(rollback, "_PATIENCE", 0.0)
    rows = oauth_rows(sandbox, 2, "practice-strict")
    report = await take(heart, rows)
    busy = (await made(heart, report, rows))[1]
    raw_store.set(names.lease(busy.id), "somebody")
    with pytest.raises(Changed) as refused:
        await roll_back(heart, report.batch)
    assert refused.value.connection_ids == (busy.id,)
    done = await roll_back(heart, report.batch, force=True)
    assert (done.removed, done.kept) == (1, (busy.id,))
    assert [connection.id for connection in await all_of(heart)] == [busy.id]


@pytest.mark.parametrize("sign", ["parked", "intent"])
async def test_what_may_exist_only_here_is_not_taken_unasked(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, sign: str
) -> None:
    """A refresh token that came too late; a refresh of which nobody knows how it ended."""
    rows = oauth_rows(sandbox, 1, "practice-strict")
    report = await take(heart, rows)
    (connection,) = await made(heart, report, rows)
    if sign == "parked":
        await heart.parked.park(connection, "only-here")
    else:
        raw_store.hset(names.record(connection.id), "i", json.dumps({"generation": 1, "owner": "x", "started": 1}))
    before = await stored(heart, raw_store)
    with pytest.raises(Changed):
        await roll_back(heart, report.batch)
    assert await stored(heart, raw_store) == before
    assert (await roll_back(heart, report.batch, force=True)).forced == 1


async def test_what_is_refreshed_during_the_rollback_stays_as_a_connection_like_any_other(
    heart: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its lists and its event; the rest is gone, the batch is over, and its file may be taken in anew."""
    rows = oauth_rows(sandbox, 3, "practice-strict")
    report = await take(heart, rows)
    connection = (await made(heart, report, rows))[1]
    after_the_look(monkeypatch, lambda: refresh(heart, connection))
    done = await roll_back(heart, report.batch)
    assert (done.removed, done.forced, done.kept) == (2, 0, (connection.id,))
    assert [each.id for each in await all_of(heart)] == [connection.id]
    assert await heart.moving.batches.all() == []
    assert raw_store.hget(names.record(connection.id), "b") is None
    app = await make_client("app")
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", "/v1/events")).json()["items"]
    told = [event["type"] for event in events if event["connection_id"] == connection.id]
    assert sorted(told) == ["connection.created", "credential.refreshed"]
    anew = await take(heart, rows, existing="skip", verify=False)
    assert (anew.imported, anew.skipped) == (2, 1)


async def test_one_that_changes_at_the_very_last_moment_is_on_its_lists_again(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left them, and is refreshed before its record goes: all is as if nobody had touched it."""
    rows = oauth_rows(sandbox, 1, "practice-strict")
    report = await take(heart, rows)
    (connection,) = await made(heart, report, rows)
    unlist = rollback.Rollbacks._unlist
    before: list[Any] = []

    async def then_refresh(self: rollback.Rollbacks, each: Connection) -> None:
        await refresh(heart, each)
        await heart.bookkeeping.settle_all()
        before.append(lists_of(await stored(heart, raw_store)))
        await unlist(self, each)

    monkeypatch.setattr(rollback.Rollbacks, "_unlist", then_refresh)
    assert (await roll_back(heart, report.batch)).kept == (connection.id,)
    assert [lists_of(await stored(heart, raw_store))] == before


def lists_of(store: dict[bytes, Any]) -> dict[bytes, Any]:
    """The lists of connections, and the journal."""
    return {
        key: value
        for key, (value, _) in store.items()
        if key.split(b":")[1] in {b"index", b"subject", b"account", b"events"}
    }


async def test_a_rollback_that_was_broken_off_keeps_what_was_refreshed_since(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to be decided: some of it is gone already, and force is not needed to come to an end."""
    rows = oauth_rows(sandbox, 3, "practice-graceful")
    report = await take(heart, rows)
    connections = await made(heart, report, rows)
    with monkeypatch.context() as patch:
        patch.setattr(rollback.Rollbacks, "_check_unchanged", lambda *_: asyncio.sleep(0))
        die_after(patch, heart, 16)
        with pytest.raises(StoreUnavailable):
            await roll_back(heart, report.batch)
    raw_store.delete(*raw_store.keys("broker:leader:*"))
    batch = await heart.moving.batches.read(report.batch or "")
    assert batch is not None
    assert batch.state == "rolling_back"
    left = [each for each in connections if await heart.records.read(each.id)]
    await refresh(heart, left[-1])
    done = await roll_back(heart, report.batch)
    assert (done.removed, done.kept) == (len(left) - 1, (left[-1].id,))


async def test_what_the_app_has_said_since_is_counted(
    heart: Heart, sandbox: httpx2.Client, make_client: MakeClient
) -> None:
    """It goes with the connection; saying the same again is no change."""
    rows = oauth_rows(sandbox, 3, "practice-strict")
    report = await take(heart, rows)
    connections, app = await made(heart, report, rows), await make_client("app")
    for connection, change in zip(
        connections, ({"label": "mine"}, {"metadata": {"a": 1}}, {"metadata": {}}), strict=True
    ):
        answer = await app.call("PATCH", f"/v1/connections/{connection.id}", change)
        assert answer.status_code == 200
    done = await roll_back(heart, report.batch)
    assert (done.removed, done.amended) == (3, 2)
