"""Refreshing ahead: what is in use stays fresh, what is idle is kept alive, and a provider never sees a storm."""

import asyncio
import base64
from io import StringIO

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.background.refreshing import RefreshAhead
from broker.models.connection import Status
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.background.ahead import DAY, HOUR, MINUTE, apps_own, chore_of, crash, due_at, generations, stored, work_off
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes
from tests.journey import MakeClient
from tests.observe.capture import logged
from tests.processes import broker_process
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

__all__ = ["logged"]


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A backend with every scope."""
    return await make_client()


@pytest.fixture
async def connection_id(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> str:
    """A person's connection, valid for an hour, at a provider where reuse ends the grant."""
    behave(sandbox, rotation="revoke_on_reuse")
    return str((await app.connect(Person(http)))["id"])


async def fetch(app: ServiceClient, connection_id: str) -> httpx2.Response:
    """Fetch the token with a broker token of this moment."""
    return await ServiceClient(app.http, app.client_id, app.secret).fetch(connection_id)


async def test_a_connection_in_use_is_refreshed_before_its_token_ends(
    app: ServiceClient, heart: Heart, ahead: RefreshAhead, connection_id: str, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Not in the first half of its life, and by five minutes before its end; who fetches then finds it fresh."""
    clock.advance(seconds=30 * MINUTE)
    assert await work_off(ahead) == 0
    clock.advance(seconds=25 * MINUTE)
    assert await work_off(ahead) == 1
    assert refreshes(sandbox) == (1, 0)
    assert (await stored(heart, connection_id)).generation == 2
    assert (await fetch(app, connection_id)).json()["generation"] == 2
    assert await work_off(ahead) == 0
    for hours in range(1, 4):
        clock.advance(seconds=55 * MINUTE)
        assert await work_off(ahead) == 1
        assert refreshes(sandbox) == (1 + hours, 0)


async def test_an_idle_connection_is_refreshed_only_to_keep_it_alive(
    heart: Heart,
    ahead: RefreshAhead,
    connection_id: str,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
) -> None:
    """Nobody used it for two days: its token may end, and the refresh token is used before each month is over."""
    clock.advance(seconds=2 * DAY)
    assert await work_off(ahead) == 1
    assert refreshes(sandbox) == (0, 0)
    for month in range(1, 4):
        connection = await stored(heart, connection_id)
        last = connection.health.last_refreshed_at or connection.created_at
        due = connection.health.next_refresh_at
        assert due is not None
        assert due == due_at(raw_store, connection_id)
        assert 26 * DAY * 1000 <= due - last <= 30 * DAY * 1000
        clock.now = due - 1
        assert await work_off(ahead) == 0
        clock.now = due
        assert await work_off(ahead) == 1
        assert refreshes(sandbox) == (month, 0)
        # A new token is due before its end at first; by then, nobody has used it.
        clock.advance(seconds=HOUR)
        assert await work_off(ahead) == 1
        assert refreshes(sandbox) == (month, 0)


async def test_a_use_makes_an_idle_connection_one_in_use(
    app: ServiceClient,
    ahead: RefreshAhead,
    connection_id: str,
    sandbox: httpx2.Client,
    clock: FakeClock,
) -> None:
    """The first fetch refreshes on demand; from then on it is kept fresh."""
    clock.advance(seconds=2 * DAY)
    await work_off(ahead)
    assert (await fetch(app, connection_id)).json()["generation"] == 2
    clock.advance(seconds=55 * MINUTE)
    await work_off(ahead)
    assert refreshes(sandbox) == (2, 0)


async def test_two_replicas_that_work_at_the_same_time_refresh_each_connection_once(
    heart: Heart, replica: Heart, sandbox: httpx2.Client, app: ServiceClient, http: httpx2.AsyncClient, clock: FakeClock
) -> None:
    """Twenty rotating connections that would be lost by a second refresh."""  # F5
    behave(sandbox, rotation="revoke_on_reuse")
    person = Person(http)
    ids = [str((await app.connect(person))["id"]) for _ in range(20)]
    clock.advance(seconds=55 * MINUTE)
    first, second = chore_of(heart), chore_of(replica)
    while any(await asyncio.gather(first.step(), second.step())):
        pass
    await asyncio.gather(first.finish(), second.finish())
    assert refreshes(sandbox) == (20, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0
    assert await generations(heart, ids) == {2}


async def test_what_a_crashed_replica_had_claimed_comes_back(
    heart: Heart, replica: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Not before its claim has run out, and then somebody else does it."""  # F1
    (connection_id,) = await apps_own(heart, 1)
    crashed = chore_of(heart)
    await crashed.step()
    await crash(crashed)  # before it has done anything
    other = chore_of(replica)
    assert await work_off(other) == 0
    clock.advance(seconds=2 * MINUTE)
    assert await work_off(other) == 1
    assert (await stored(heart, connection_id)).generation == 2


async def test_a_large_backlog_is_begun_a_few_at_a_time(
    heart: Heart, ahead: RefreshAhead, sandbox: httpx2.Client
) -> None:
    """Many at once, as after an outage: thirty-two a step, of which as many go as the provider has places."""  # F4
    await apps_own(heart, 100)
    for begun in (32, 32, 32, 4):
        assert await ahead.step() == begun
        await ahead.finish()
    counters = sandbox.get("/counters").json()
    assert counters["token"]["client_credentials"] == {"ok": 100, "error": 0}
    assert counters["token_most_at_once"] <= 12


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_jumps_makes_no_storm(
    heart: Heart, ahead: RefreshAhead, sandbox: httpx2.Client, clock: FakeClock, hours: int
) -> None:
    """An hour forth or back, and back to the truth: no connection is refreshed more than once for it."""  # F4
    ids = await apps_own(heart, 40, due_in=30 * MINUTE)
    clock.advance(seconds=hours * HOUR)
    await work_off(ahead)
    for _ in range(5):
        clock.advance(seconds=MINUTE)
        assert await work_off(ahead) == 0
    clock.advance(seconds=-hours * HOUR)
    for _ in range(20):
        clock.advance(seconds=MINUTE)
        assert await work_off(ahead) == 0
    asked = sandbox.get("/counters").json()["token"]["client_credentials"]
    assert asked == {"ok": 40 if hours > 0 else 0, "error": 0}
    assert await generations(heart, ids) == {2 if hours > 0 else 1}


async def test_what_has_ended_is_struck_off(
    heart: Heart, ahead: RefreshAhead, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Disconnected, gone, or to be authorized again: nobody looks at it any more."""
    gone, over, unplanned = await apps_own(heart, 3, due_in=-1)
    raw_store.delete(names.record(gone))
    connection = await stored(heart, over)
    await heart.records.annotate(connection, status=Status.REAUTH_REQUIRED, updated_at=heart.clock())
    raw_store.hset(names.record(unplanned), "h", "{}")
    assert await work_off(ahead) == 3
    assert [due_at(raw_store, connection_id) for connection_id in (gone, over, unplanned)] == [None] * 3
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 0, "error": 0}


async def test_what_is_not_due_any_more_gets_its_right_time(
    heart: Heart, ahead: RefreshAhead, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """As where the due work was restored from an older copy than the record."""
    (connection_id,) = await apps_own(heart, 1, due_in=MINUTE)
    raw_store.zadd(names.due(connection_id), {f"refresh:{connection_id}": 1})
    assert await work_off(ahead) == 1
    assert due_at(raw_store, connection_id) == heart.clock() + MINUTE * 1000
    assert (await stored(heart, connection_id)).generation == 1


async def test_a_provider_that_is_gone_from_the_file_for_a_while_costs_nothing(
    heart: Heart, settings: Settings, providers: Registry, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """The next broker, started with the entry mended, goes on refreshing."""
    (connection_id,) = await apps_own(heart, 1)
    poorer = build_heart(settings, Registry(entry for entry in providers if entry.name != "practice"), clock)
    assert await work_off(chore_of(poorer)) == 1
    await poorer.aclose(work_ends_within=5)
    clock.advance(seconds=HOUR)
    assert await work_off(chore_of(heart)) == 1
    assert (await stored(heart, connection_id)).generation == 2


async def test_one_that_cannot_be_opened_keeps_no_other_waiting(
    heart: Heart, ahead: RefreshAhead, raw_store: redis.Redis, sandbox: httpx2.Client, logged: StringIO
) -> None:
    """It is kept as it is, and the log says which one; the others are refreshed."""  # K3
    broken, *others = await apps_own(heart, 5)
    sealed = raw_store.hget(names.record(broken), "s")
    assert isinstance(sealed, bytes)
    raw_store.hset(names.record(broken), "s", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert await work_off(ahead) == 5
    assert await generations(heart, others) == {2}
    assert broken in logged.getvalue()
    assert (await stored(heart, broken)).generation == 1


async def test_a_refresh_under_way_is_not_ended_with_the_chore(
    heart: Heart, ahead: RefreshAhead, sandbox: httpx2.Client, connection_id: str, clock: FakeClock
) -> None:
    """What the provider answers is stored, though nobody waits for it."""  # F3
    hold_answers(sandbox)
    clock.advance(seconds=55 * MINUTE)
    await ahead.step()
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    await ahead.aclose()
    assert (await stored(heart, connection_id)).generation == 1
    let_answers_go(sandbox)
    assert await heart.refresher.drain(60) == 0
    assert (await stored(heart, connection_id)).generation == 2


async def test_somebody_who_was_faster_is_not_repeated(
    heart: Heart, ahead: RefreshAhead, sandbox: httpx2.Client, connection_id: str, clock: FakeClock
) -> None:
    """A caller refreshed between the claim and now: the new token has a time of its own."""
    clock.advance(seconds=55 * MINUTE)
    await heart.refresher.refresh(connection_id, 1)
    assert await work_off(ahead) == 0
    assert refreshes(sandbox) == (1, 0)


async def test_another_app_in_the_entry_is_not_asked(
    heart: Heart, settings: Settings, providers: Registry, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Nothing is sent, and it is looked at once an hour, not all the time."""
    await apps_own(heart, 1)
    other = replace_entry(providers, "practice", client_id="another-app")
    wrong = build_heart(settings, other, clock)
    chore = chore_of(wrong)
    assert await work_off(chore) == 1
    clock.advance(seconds=59 * MINUTE)
    assert await work_off(chore) == 0
    await wrong.aclose(work_ends_within=5)
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 0, "error": 0}


def replace_entry(providers: Registry, name: str, **changes: object) -> Registry:
    """The same entries, with changes in one."""
    return Registry(entry.model_copy(update=changes) if entry.name == name else entry for entry in providers)


async def test_a_connection_that_is_made_is_due_until_it_is_ended(
    app: ServiceClient, heart: Heart, connection_id: str, raw_store: redis.Redis
) -> None:
    """What is shown as ``health.next_refresh_at`` is when it is due; disconnected, it is due no more."""
    due = (await stored(heart, connection_id)).health.next_refresh_at
    assert due is not None
    assert due_at(raw_store, connection_id) == due
    await app.call("DELETE", f"/v1/connections/{connection_id}")
    assert due_at(raw_store, connection_id) is None


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_running_broker_refreshes_ahead_by_itself_unless_it_is_told_not_to(
    heart: Heart, settings: Settings, sandbox: httpx2.Client, sandbox_url: str, enabled: bool
) -> None:
    """No request comes; with ``BROKER_BACKGROUND_ENABLED`` the token is renewed, without it nothing is done."""
    assert settings.redis_url is not None
    assert settings.encryption_keys is not None
    (connection_id,) = await apps_own(heart, 1)
    ((kid, key),) = settings.encryption_keys
    env = {
        "BROKER_REDIS_URL": settings.redis_url.get_secret_value(),
        "BROKER_ENCRYPTION_KEYS": f"{kid}:{base64.b64encode(key).decode()}",
        "BROKER_BACKGROUND_ENABLED": str(enabled).lower(),
        "PRACTICE": sandbox_url,
    }
    with broker_process(env):
        if enabled:
            await eventually(lambda: sandbox.get("/counters").json()["token"]["client_credentials"]["ok"])
    # A process that is ended finishes the refreshes that it has begun.
    assert (await stored(heart, connection_id)).generation == (2 if enabled else 1)
