"""One import by two processes: the one that was held up, and lost it, changes nothing when it wakes up."""

import asyncio
from typing import Any, cast

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving import lease
from broker.connections.moving.order import Order, Report, Stop, TakenOver
from broker.connections.moving.publishing import Publishing
from broker.connections.moving.rollback import Rollbacks
from broker.connections.moving.row import Restored, Row
from broker.connections.moving.storing import Storing
from broker.connections.moving.verifying import Verifying
from broker.vault.leadership import Leadership
from tests.connections.moving.taking_in import all_of, key_row, made, oauth_rows, order_of, silent, stored, take


class Halted:
    """The first process, stopped at a step as by Ctrl-Z; meanwhile its hold runs out."""

    def __init__(
        self, patch: pytest.MonkeyPatch, raw_store: redis.Redis, kind: type, step: str, *, after: bool = False
    ) -> None:
        """``after``: once the step is done, not before it."""
        self._now = 1000.0
        self._raw_store = raw_store
        self._reached, self._go = asyncio.Event(), asyncio.Event()
        original, first = getattr(kind, step), iter([True])

        async def halted(*given: Any, **more: Any) -> Any:
            halts = next(first, False)
            result = await original(*given, **more) if after else None
            if halts:
                self._reached.set()
                await self._go.wait()
            return result if after else await original(*given, **more)

        patch.setattr(kind, step, halted)
        patch.setattr(lease, "steady", lambda: self._now)

    async def is_followed(self, *, knows: bool) -> None:
        """Once it stands, another one can take the batch. ``knows``: it will see how long it stood; else it is as in
        the instant between a look at the clock and the command after it."""
        await self._reached.wait()
        for key in cast("list[bytes]", self._raw_store.keys("broker:leader:import*")):
            self._raw_store.delete(key)
        self._now += 60.0 if knows else 0.0

    def wake(self) -> None:
        """``fg``."""
        self._go.set()


def some_rows(kind: str, there: list[Row]) -> list[Any]:
    """Three that get ids, or bring theirs along."""
    return there if kind == "restored" else [key_row(number) for number in range(1, 4)]


@pytest.fixture
async def from_elsewhere(other_heart: Heart, sandbox: httpx2.Client) -> list[Row]:
    """Rows of another broker's export."""
    rows = oauth_rows(sandbox, 3, "practice-graceful")
    whole = [await other_heart.records.read_with_credential(each.id) for each in await made_there(other_heart, rows)]
    return [
        Row(number, one[0].provider, one[0].subject, {}, restored=Restored(one[0], one[1]))
        for number, one in enumerate(whole, 1)
        if one and one[1]
    ]


async def made_there(heart: Heart, rows: list[Row]) -> Any:
    """Connections of the other broker."""
    return await made(heart, await take(heart, rows, verify=False), rows)


def begin(heart: Heart, rows: list[Any], order: Order) -> "asyncio.Task[Report]":
    """The first process."""
    return asyncio.create_task(heart.moving.imports.run(order, lambda: iter(rows), silent, Stop()))


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("ids", ["drawn", "restored"])
@pytest.mark.parametrize(
    ("kind", "step"),
    [(Storing, "store_all"), (Verifying, "draft"), (Publishing, "forward"), (Publishing, "_give")],
)
async def test_who_lost_it_leaves_what_another_has_finished(
    heart: Heart,
    raw_store: redis.Redis,
    from_elsewhere: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
    step: str,
    ids: str,
    knows: bool,
) -> None:
    """Wherever it was, and whether or not it knows: it pauses; the batch and its connections are as they were."""
    rows = some_rows(ids, from_elsewhere)
    halted = Halted(monkeypatch, raw_store, kind, step)
    first = begin(heart, rows, order_of(rows, verify=False))
    await halted.is_followed(knows=knows)
    second = await take(heart, rows, verify=False)
    assert (second.state, second.imported, second.already) == ("done", 3, False)
    before = await stored(heart, raw_store)
    halted.wake()
    report = await first
    assert (report.state, report.batch) == ("paused", second.batch)
    assert "another process has taken" in (report.why or "")
    after = await stored(heart, raw_store)
    # A journal that the same is written to once more lives longer.
    assert {key: value for key, (value, _) in after.items()} == {key: value for key, (value, _) in before.items()}
    assert len(await all_of(heart)) == 3


async def refusing(heart: Heart, rows: list[Any]) -> "asyncio.Task[Report]":
    """A run that finds, when it goes on, that a person of the file has connected meanwhile."""
    stop = Stop()

    def tell(step: str, _done: int, _of: int | None) -> None:
        if step == "storing":
            stop.set()

    order = order_of(rows, verify=False)
    assert (await heart.moving.imports.run(order, lambda: iter(rows), tell, stop)).state == "paused"
    assert (await take(heart, [twin_of(rows[1])], verify=False)).imported == 1
    return begin(heart, rows, order)


def twin_of(row: Row) -> Row:
    """Another connection of the same person at the same provider."""
    if row.restored is None:
        return key_row(9, subject=row.subject)
    return Row(9, row.provider, row.subject, {"access_token": "another", "refresh_token": "one"})


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("ids", ["drawn", "restored"])
async def test_who_took_a_refused_file_back_leaves_what_another_took_in(
    heart: Heart,
    raw_store: redis.Redis,
    from_elsewhere: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    ids: str,
    knows: bool,
) -> None:
    """The other one finishes the taking back, and begins anew."""
    rows = some_rows(ids, from_elsewhere)
    halted = Halted(monkeypatch, raw_store, Storing, "undo")
    first = await refusing(heart, rows)
    await halted.is_followed(knows=knows)
    second = await take(heart, rows, verify=False, existing="add")
    assert (second.state, second.imported) == ("done", 3)
    before = await stored(heart, raw_store)
    halted.wake()
    assert (await first).state == "paused"
    assert await stored(heart, raw_store) == before
    assert len(await all_of(heart)) == 4


async def test_who_took_a_refused_file_back_leaves_what_another_has_begun_anew(
    heart: Heart, raw_store: redis.Redis, from_elsewhere: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same ids, and nobody's yet."""
    rows, stop = some_rows("restored", from_elsewhere), Stop()
    halted = Halted(monkeypatch, raw_store, Storing, "undo")
    first = await refusing(heart, rows)
    await halted.is_followed(knows=True)

    def tell(step: str, _done: int, _of: int | None) -> None:
        if step == "storing":
            stop.set()

    order = order_of(rows, verify=False, existing="add")
    assert (await heart.moving.imports.run(order, lambda: iter(rows), tell, stop)).state == "paused"
    before = await stored(heart, raw_store)
    halted.wake()
    assert (await first).state == "paused"
    assert await stored(heart, raw_store) == before
    assert (await take(heart, rows, verify=False, existing="add")).imported == 3


async def test_who_was_publishing_tells_nothing_of_what_was_taken_back(
    heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event of connections that nobody has."""
    before, rows = await stored(heart, raw_store), some_rows("drawn", [])
    halted = Halted(monkeypatch, raw_store, Publishing, "_give", after=True)
    first = begin(heart, rows, order_of(rows, verify=False))
    await halted.is_followed(knows=True)
    second = await take(heart, rows, verify=False)
    await heart.moving.rollbacks.roll_back(second.batch or "", silent, force=False)
    halted.wake()
    assert (await first).state == "paused"
    assert await stored(heart, raw_store) == before


@pytest.mark.parametrize("ending", ["import", "rollback"])
async def test_a_refusal_that_was_broken_off_is_finished_by_who_comes_next(
    heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """An import begins anew after it; a rollback leaves nothing."""
    rows = some_rows("drawn", [])
    halted = Halted(monkeypatch, raw_store, Storing, "undo")
    first = await refusing(heart, rows)
    await halted.is_followed(knows=False)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    (batch,) = [each for each in await heart.moving.batches.all() if each.state != "done"]
    assert batch.state == "refusing"
    if ending == "import":
        assert (await take(heart, rows, verify=False, existing="add")).imported == 3
    assert (await heart.moving.rollbacks.roll_back(batch.id, silent, force=False)).removed == 3
    assert len(await all_of(heart)) == 1
    assert [key.count(b":") for key in cast("list[bytes]", raw_store.keys("broker:{*}:con_*"))].count(2) == 1


@pytest.mark.parametrize("ids", ["drawn", "restored"])
async def test_who_lost_a_rollback_leaves_what_was_imported_anew(
    heart: Heart, raw_store: redis.Redis, from_elsewhere: list[Row], monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    """Under the same name: the file is the same."""
    rows = some_rows(ids, from_elsewhere)
    report = await take(heart, rows, verify=False)
    halted = Halted(monkeypatch, raw_store, Rollbacks, "_take_back")
    first = asyncio.create_task(heart.moving.rollbacks.roll_back(report.batch or "", silent, force=False))
    await halted.is_followed(knows=True)
    assert (await heart.moving.rollbacks.roll_back(report.batch or "", silent, force=False)).removed == 3
    anew = await take(heart, rows, verify=False)
    assert (anew.state, anew.batch, anew.imported) == ("done", report.batch, 3)
    before = await stored(heart, raw_store)
    halted.wake()
    with pytest.raises(TakenOver):
        await first
    assert await stored(heart, raw_store) == before


async def test_a_dead_process_is_waited_for(heart: Heart, raw_store: redis.Redis) -> None:
    """And that is said; who lives on keeps it, and the other one may be run again."""
    rows = some_rows("drawn", [])
    (name,) = heart.moving.batches.ids_of(order_of(rows).fingerprint)
    dead, told = Leadership(heart.store), list[str]()
    await dead.leads(f"import {name}")

    def tell(step: str, _done: int, _of: int | None) -> None:
        told.append(step)
        for key in cast("list[bytes]", raw_store.keys("broker:leader:import*")):
            raw_store.delete(key)

    report = await heart.moving.imports.run(order_of(rows, verify=False), lambda: iter(rows), tell, Stop())
    assert report.state == "done"
    assert told[0].startswith("waiting for another process")


@pytest.mark.parametrize("what", ["import", "rollback"])
async def test_a_process_that_lives_is_not_waited_for_for_ever(
    heart: Heart, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is told, as something that may be tried again."""
    rows = some_rows("drawn", [])
    report = await take(heart, rows, verify=False)
    monkeypatch.setattr("broker.connections.moving.imports.PATIENCE", 0.0)
    monkeypatch.setattr("broker.connections.moving.rollback.PATIENCE", 0.0)
    await Leadership(heart.store).leads(f"import {report.batch}")
    rollback = heart.moving.rollbacks.roll_back(report.batch or "", silent, force=False)
    again = take(heart, rows, verify=False) if what == "import" else rollback
    with pytest.raises(TakenOver, match="another process"):
        await again
    rollback.close()


async def test_a_hold_that_can_not_be_prolonged_is_lost(
    heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nobody else has it now: somebody may have had it. Those who wait for the stop are woken up."""
    monkeypatch.setattr(lease, "_RENEWED_EVERY", 0.01)
    async with lease.Holding(heart.store).try_for("x", Stop()) as hold:
        assert hold is not None
        await asyncio.sleep(0.05)
        hold.check()
        raw_store.delete("broker:leader:import x")
        async with asyncio.timeout(60):
            await hold.wait()
        assert hold.is_set()
        with pytest.raises(TakenOver):
            hold.check()
    assert not raw_store.exists("broker:leader:import x")


async def test_a_stop_reaches_those_who_wait_for_the_hold(heart: Heart) -> None:
    """And it isn't lost by that: what is under way is finished."""
    stop = Stop()
    async with lease.Holding(heart.store).try_for("x", stop) as hold:
        assert hold is not None
        stop.set()
        assert hold.is_set()
        async with asyncio.timeout(60):
            await hold.wait()
        hold.check()
