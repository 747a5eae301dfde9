"""Taking an import back: the store is as it was, to the byte; what would be lost is named first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import redis
from pydantic import SecretStr

from broker.app.heart import Heart, build_heart
from broker.connections.moving.order import Stop
from broker.connections.moving.rollback import Changed
from broker.connections.moving.row import Restored, Row
from broker.errors import NotFound, StoreUnavailable
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.connections.moving.taking_in import (
    all_of,
    die_after,
    key_row,
    listed,
    made,
    oauth_rows,
    order_of,
    silent,
    stored,
    take,
)
from tests.journey import MakeClient
from tests.kinds.cases import created
from tests.kinds.test_imported import tokens_of
from tests.vault.servers import cluster_node
from tests.world import FakeClock

KeptStore = dict[bytes, tuple[Any, Any]]


async def roll_back(heart: Heart, batch: str | None, *, force: bool = False) -> Any:
    """``--rollback``."""
    return await heart.moving.rollbacks.roll_back(batch or "", silent, force=force)


def without_ends(store: KeptStore) -> dict[bytes, Any]:
    """Every key with its value, and whether it ends: a journal that is written to lives longer again."""
    return {key: (value, end == -1) for key, (value, end) in store.items()}


async def full_store(heart: Heart, make_client: MakeClient, sandbox: httpx2.Client) -> None:
    """A store with connections, events and due work of its own, for the same subjects and accounts."""
    app = await make_client("app")
    for number in (1, 2, 3):
        await created(app, "practice", tokens_of(sandbox), subject=f"user {number}")
    await heart.bookkeeping.settle_all()


@pytest.mark.parametrize("verify", [True, False])
async def test_the_store_is_as_it_was_by_count_and_digest_of_every_key(
    heart: Heart, raw_store: redis.Redis, make_client: MakeClient, sandbox: httpx2.Client, verify: bool
) -> None:
    """Among other connections of the same people, at the same accounts, in the same journal."""
    await full_store(heart, make_client, sandbox)
    before = await stored(heart, raw_store)
    rows: list[Any] = [
        *oauth_rows(sandbox, 20, "practice-graceful"),
        *[key_row(number + 20, account_id="usr_1001") for number in range(1, 21)][: 0 if verify else 20],
    ]
    report = await take(heart, rows, verify=verify)
    assert (report.state, report.imported) == ("done", len(rows))
    assert len(await stored(heart, raw_store)) > len(before)
    done = await roll_back(heart, report.batch)
    assert (done.removed, done.forced, done.ended) == (len(rows), 0, 0)
    after = await stored(heart, raw_store)
    assert len(after) == len(before)
    assert without_ends(after) == without_ends(before)
    with pytest.raises(NotFound):
        await roll_back(heart, report.batch)


async def test_what_others_did_meanwhile_stays(
    heart: Heart, raw_store: redis.Redis, make_client: MakeClient, sandbox: httpx2.Client
) -> None:
    """Tokens that were handed out have left the broker, and the record goes on saying so."""
    rows = oauth_rows(sandbox, 2, "practice-graceful")
    report = await take(heart, rows)
    app = await make_client("app")
    first = (await listed(heart, report, rows))[0].connection_id
    assert (await app.fetch(first)).status_code == 200
    await heart.bookkeeping.settle_all()
    await roll_back(heart, report.batch)
    events = (await app.call("GET", "/v1/events")).json()["items"]
    assert [event["type"] for event in events if event["connection_id"] == first] == ["token.released"]
    assert await all_of(heart) == []
    assert (await app.fetch(first)).status_code == 404


async def test_what_was_refreshed_since_is_named_and_nothing_is_changed(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Its refresh token exists only here. ``force`` takes it along all the same."""
    rows = oauth_rows(sandbox, 3, "practice-strict")
    report = await take(heart, rows)
    connection = (await made(heart, report, rows))[1]
    await heart.refresher.refresh(connection.id, connection.generation, request_id=None)
    before = await stored(heart, raw_store)
    with pytest.raises(Changed) as refused:
        await roll_back(heart, report.batch)
    assert refused.value.connection_ids == (connection.id,)
    assert await stored(heart, raw_store) == before
    done = await roll_back(heart, report.batch, force=True)
    assert (done.removed, done.forced) == (3, 1)
    assert await all_of(heart) == []
    assert not raw_store.keys("broker:account:*")


async def test_its_event_goes_also_where_its_words_are_others_by_now(
    heart: Heart, make_client: MakeClient, sandbox: httpx2.Client
) -> None:
    """A refresh that changed the scopes doesn't hide the event of the import from the rollback."""
    rows = oauth_rows(sandbox, 1, "practice-graceful")
    report = await take(heart, rows)
    (connection,) = await made(heart, report, rows)
    sandbox.post("/control", json={"granted_scopes": ["profile"]}).raise_for_status()
    await heart.refresher.refresh(connection.id, connection.generation, request_id=None)
    await heart.bookkeeping.settle_all()
    await roll_back(heart, report.batch, force=True)
    app = await make_client("app")
    events = [event["type"] for event in (await app.call("GET", "/v1/events")).json()["items"]]
    assert "credential.refreshed" in events
    assert "connection.created" not in events


async def test_what_was_disconnected_is_left_as_that(heart: Heart, sandbox: httpx2.Client) -> None:
    """It is on its way out, with what it has to say."""
    rows = oauth_rows(sandbox, 2, "practice-graceful")
    report = await take(heart, rows)
    ended = (await made(heart, report, rows))[0]
    await heart.lifecycle.disconnect(ended, client_id=None, request_id=None)
    done = await roll_back(heart, report.batch)
    assert (done.removed, done.ended) == (1, 1)
    assert [connection.id for connection in await all_of(heart)] == [ended.id]


@pytest.mark.parametrize("step", ["verifying", "securing", "publishing"])
async def test_what_was_broken_off_can_be_taken_back(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, step: str
) -> None:
    """Before the commit point and after it."""
    before = await stored(heart, raw_store)
    rows, stop = [key_row(number) for number in range(1, 600)], Stop()
    named = "storing" if step == "verifying" else step

    def tell(seen: str, _done: int, _of: int | None) -> None:
        if seen == named:
            stop.set()

    paused = await heart.moving.imports.run(order_of(rows, verify=False), lambda: iter(rows), tell, stop)
    assert paused.state == "paused"
    assert bool(await all_of(heart)) == (step == "publishing")
    await roll_back(heart, paused.batch)
    assert await stored(heart, raw_store) == before


async def test_a_rollback_that_was_broken_off_goes_on(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Wherever it was: each command that it sends is the last one in turn."""
    before = await stored(heart, raw_store)
    rows = oauth_rows(sandbox, 2, "practice-graceful")
    report = await take(heart, rows)
    failures = 0
    for allowed in range(1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            die_after(patch, heart, allowed)
            try:
                await roll_back(heart, report.batch)
            except (StoreUnavailable, NotFound) as error:
                failures += isinstance(error, StoreUnavailable)
                if isinstance(error, NotFound):
                    break
            else:
                break
        # Nobody gave the batch back.
        for key in cast("list[bytes]", raw_store.keys("broker:leader:*")):
            raw_store.delete(key)
    assert failures > 10
    assert await stored(heart, raw_store) == before


async def test_a_rollback_is_told_to_the_sink(
    settings: Settings, providers: Registry, clock: FakeClock, sandbox: httpx2.Client, tmp_path: Path
) -> None:
    """The store keeps no trace, so that is where it is said."""
    sink = tmp_path / "events"
    heart = build_heart(settings.model_copy(update={"events_sink": f"file:{sink}"}), providers, clock)
    rows = oauth_rows(sandbox, 2, "practice-graceful")
    report = await take(heart, rows, tenant="acme")
    await roll_back(heart, report.batch)
    told = [json.loads(line) for line in sink.read_text().splitlines()]
    assert [event["type"] for event in told] == ["connection.created", "connection.created", "import.rolled_back"]
    assert told[-1]["tenant"] == "acme"
    assert told[-1]["data"] == {
        "batch": report.batch,
        "rows": 2,
        "removed": 2,
        "forced": 0,
        "amended": 0,
        "ended": 0,
        "kept": 0,
    }
    await heart.aclose(work_ends_within=2)


async def test_a_restored_connection_is_taken_back_with_what_lay_beside_it(
    heart: Heart, other_heart: Heart, sandbox: httpx2.Client
) -> None:
    """Its parked refresh tokens come along, and go again; a generation above one is no sign of a refresh."""
    rows = oauth_rows(sandbox, 1, "practice-graceful")
    (there,) = await made(heart, await take(heart, rows), rows)
    found = await heart.records.read_with_credential(there.id)
    assert found is not None
    assert found[1] is not None
    old = replace(there, generation=7)
    row = Row(1, old.provider, old.subject, {}, restored=Restored(old, found[1], parked=("late", "later")))
    await other_heart.store.execute("PING")
    before = [key async for page in other_heart.store.scan("*") for key in page]
    report = await take(other_heart, [row])
    assert (await other_heart.parked.candidates(old)).refresh_tokens == ("late", "later")
    done = await roll_back(other_heart, report.batch)
    assert (done.removed, done.forced) == (1, 0)
    after = [key async for page in other_heart.store.scan("*") for key in page if "{gate:" not in key]
    assert after == before
    assert await other_heart.store.execute("EXISTS", names.parked(old.id)) == 0


async def test_all_of_it_runs_on_a_cluster(settings: Settings, providers: Registry, clock: FakeClock) -> None:
    """Taken in, broken off, gone on with and taken back: nothing is left there, either."""
    with cluster_node() as url, redis.Redis.from_url(url) as node:
        heart = build_heart(settings.model_copy(update={"redis_url": SecretStr(url)}), providers, clock)
        before, rows, stop = await stored(heart, node), [key_row(number) for number in range(1, 301)], Stop()

        def tell(step: str, _done: int, _of: int | None) -> None:
            if step == "publishing":
                stop.set()

        paused = await heart.moving.imports.run(order_of(rows, verify=False), lambda: iter(rows), tell, stop)
        assert paused.state == "paused"
        assert (await take(heart, rows, verify=False)).imported == 300
        assert len(await all_of(heart)) == 300
        assert (await roll_back(heart, paused.batch)).removed == 300
        assert await stored(heart, node) == before
        await heart.aclose(work_ends_within=2)
