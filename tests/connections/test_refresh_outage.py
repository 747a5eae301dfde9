"""The store goes away just when the provider has answered: the new refresh token exists nowhere else, and survives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
import redis
from pydantic import SecretStr

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.errors import StoreUnavailable
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.records import Written
from broker.vault.redis.embedded import EmbeddedStore
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import outbox
from tests.waiting import LoopTime, eventually
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def proxy(store_server: EmbeddedStore) -> AsyncIterator[FaultyProxy]:
    """The line to the store."""
    async with FaultyProxy(store_server.url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: FaultyProxy, settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A replica that reaches the store through the proxy."""
    url = SecretStr(f"redis://{proxy.address}")
    heart = build_heart(settings.model_copy(update={"redis_url": url}), providers, clock)
    yield heart
    await heart.aclose(work_ends_within=5)


@pytest.fixture
async def app(make_client: MakeClient, behind: Heart) -> AsyncIterator[ServiceClient]:
    """A client that calls the replica behind the proxy."""
    client = await make_client()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(behind)), base_url=PUBLIC_URL) as http:
        app = ServiceClient(http, client.client_id, client.secret)
        await app.broker_token()
        yield app


@pytest.fixture
async def connection_id(make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> str:
    """A connection at a provider whose old refresh token is dead as soon as the new one is issued."""
    behave(sandbox, rotation="strict")
    owner = await make_client()
    return str((await owner.connect(Person(http)))["id"])


def count_failures(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects why commits fail."""
    failures: list[str] = []
    replace = heart.records.replace

    async def counted(*arguments: object, **options: object) -> Written:
        try:
            return await replace(*arguments, **options)  # type: ignore[arg-type]
        except StoreUnavailable as error:
            failures.append(error.detail)
            raise

    monkeypatch.setattr(heart.records, "replace", counted)
    return failures


async def test_a_commit_waits_for_the_store_to_come_back(
    app: ServiceClient,
    behind: Heart,
    connection_id: str,
    proxy: FaultyProxy,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off after the provider rotated: the commit is repeated until stored, and the next refresh works."""  # F1
    failures = count_failures(behind, monkeypatch)
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection_id, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    await proxy.cut()
    let_answers_go(sandbox)
    await eventually(lambda: len(failures) >= 2)
    assert not caller.done()
    await proxy.heal()
    assert (await caller).json()["generation"] == 2
    assert (await app.fetch(connection_id, stale_generation=2)).json()["generation"] == 3
    assert refreshes(sandbox) == (2, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


async def test_a_caller_waits_no_longer_than_a_request_can(
    app: ServiceClient,
    behind: Heart,
    connection_id: str,
    proxy: FaultyProxy,
    sandbox: httpx2.Client,
    loop_time: LoopTime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store stays away after the provider answered: the caller gets 503, the commit goes on."""  # R2
    failures = count_failures(behind, monkeypatch)
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection_id, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    await proxy.cut()
    let_answers_go(sandbox)
    await eventually(lambda: len(failures) >= 1)
    loop_time.advance(seconds=behind.refresher._longest_wait)
    answer = await caller
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    await proxy.heal()
    assert await behind.refresher.drain(60) == 0
    assert (await app.fetch(connection_id)).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_a_commit_survives_its_impatient_caller(
    app: ServiceClient,
    behind: Heart,
    connection_id: str,
    proxy: FaultyProxy,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits any more and the store is still gone: it is stored all the same when the store returns."""  # F1, F2
    failures = count_failures(behind, monkeypatch)
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection_id, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    await proxy.cut()
    let_answers_go(sandbox)
    await eventually(lambda: failures)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert await behind.refresher.drain(0) == 1
    await proxy.heal()
    assert await behind.refresher.drain(60) == 0
    assert (await app.fetch(connection_id)).json()["generation"] == 2


async def test_a_commit_whose_answer_was_lost_happens_once(
    app: ServiceClient,
    behind: Heart,
    connection_id: str,
    proxy: FaultyProxy,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store carried it out and its answer got lost: the repeat is told so; one generation, one event."""  # R3, F1
    failures = count_failures(behind, monkeypatch)
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection_id, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    proxy.drop_next_answer()
    let_answers_go(sandbox)
    assert (await caller).json()["generation"] == 2
    assert len(failures) == 1
    events = [event.type for event in outbox(raw_store, connection_id)]
    assert events.count("credential.refreshed") == 1
    assert refreshes(sandbox) == (1, 0)


async def test_nothing_is_sent_before_the_intent_is_stored(
    app: ServiceClient, connection_id: str, proxy: FaultyProxy, sandbox: httpx2.Client
) -> None:
    """If the store is gone before the refresh began, the refresh token stays where it is."""  # F1
    await proxy.cut()
    refused = await app.fetch(connection_id, stale_generation=1)
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert refreshes(sandbox) == (0, 0)
    await proxy.heal()
    assert (await app.fetch(connection_id, stale_generation=1)).json()["generation"] == 2
