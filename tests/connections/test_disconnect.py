"""Disconnecting: unusable at once, given back to the provider, and honest about what came of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.background.chores import WhatIsDue
from broker.providers import Registry
from broker.providers.schema import Provider, Revocation
from broker.vault import names
from tests.connections.practice import behave, hold_answers, let_answers_go, queued, refreshes, revocations
from tests.journey import everything_in
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def line(sandbox_url: str) -> AsyncIterator[FaultyProxy]:
    """The line to the provider's revocation endpoint."""
    async with FaultyProxy(sandbox_url.removeprefix("http://")) as line:
        yield line


@pytest.fixture
def providers(providers: Registry, sandbox_url: str, line: FaultyProxy) -> Registry:
    """``practice`` revokes over ``line``, ``practice-two`` refuses to, ``practice-graceful`` has no such endpoint."""
    endpoints: dict[str, object] = {
        "authorization_endpoint": f"{sandbox_url}/authorize",
        "token_endpoint": f"{sandbox_url}/token",
    }
    revocation = {
        "practice": Revocation(endpoint=f"http://{line.address}/revoke"),
        "practice-two": Revocation(endpoint=f"{sandbox_url}/nowhere"),
        "practice-graceful": None,
        "practice-shared": Revocation(endpoint=f"http://{line.address}/revoke", effect="grant"),
    }

    def rerouted(provider: Provider) -> Provider:
        return provider.model_copy(update={**endpoints, "revocation": revocation[provider.name]})

    return Registry(rerouted(provider) for provider in providers if provider.name in revocation)


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
def revoking(heart: Heart) -> WhatIsDue:
    """The chore that retries."""
    return WhatIsDue(heart.due, heart.revocations, heart.giving_back, heart.directory, heart.devices.life, heart.clock)


async def disconnect(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """End a connection; answers ``upstream``."""
    answer = await app.call("DELETE", f"/v1/connections/{connection_id}")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["status"]) == (connection_id, "revoked")
    upstream: dict[str, Any] = answer.json()["upstream"]
    return upstream


async def test_a_disconnected_connection_is_dead_here_and_there(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis, heart: Heart
) -> None:
    """The provider refuses its token, the broker has none left, and references to it release nothing."""
    connection = await app.connect(Person(http))
    token = (await app.fetch(connection["id"])).json()["access_token"]
    issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id})
    assert await disconnect(app, connection["id"]) == {"outcome": "revoked", "status": 200, "detail": None}
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{sandbox.base_url}/api/messages", headers=bearer).status_code == 401
    assert (await app.fetch(connection["id"])).json()["code"] == "reauth_required"
    assert (await app.redeem(issued.json()["reference"])).status_code == 400
    assert not {b"a", b"s", b"i"} & set(raw_store.hgetall(names.record(connection["id"])))
    assert not queued(raw_store, connection["id"])
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    assert "connection.revoked" in [event["type"] for event in events]
    (settled,) = [event for event in events if event["type"] == "revocation.settled"]
    assert settled["data"] == {"provider": "practice", "outcome": "revoked", "status": 200}
    assert settled["client_id"] == app.client_id
    assert settled["request_id"]


async def test_a_repeat_answers_the_same_and_asks_nobody(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart
) -> None:
    """A caller whose answer got lost hears what came of the first call, which is recorded once."""  # R3
    connection = await app.connect(Person(http))
    first = await disconnect(app, connection["id"])
    assert [await disconnect(app, connection["id"]) for _ in range(3)] == [first] * 3
    assert revocations(sandbox) == 1
    await heart.bookkeeping.settle_all()
    recorded = await app.call("GET", f"/v1/connections/{connection['id']}/events?type=revocation.settled")
    assert len(recorded.json()["items"]) == 1


async def test_many_who_disconnect_at_once_revoke_once(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """One of them asks the provider, the others say that it is being done; afterwards all hear the outcome."""
    connection = await app.connect(Person(http))
    endings = await asyncio.gather(*(disconnect(app, connection["id"]) for _ in range(10)))
    outcomes = [ending["outcome"] for ending in endings]
    assert outcomes.count("revoked") >= 1
    assert set(outcomes) <= {"revoked", "pending"}
    assert revocations(sandbox) == 1
    assert (await disconnect(app, connection["id"]))["outcome"] == "revoked"


@pytest.mark.parametrize(
    ("provider", "outcome", "status"), [("practice-two", "failed", 404), ("practice-graceful", "unsupported", None)]
)
async def test_what_the_provider_cant_or_wont_do_is_said(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    provider: str,
    outcome: str,
    status: int | None,
) -> None:
    """The connection ends all the same, nothing is kept for later, and a repeat says it again."""
    connection = await app.connect(Person(http), provider=provider)
    upstream = await disconnect(app, connection["id"])
    assert (upstream["outcome"], upstream["status"]) == (outcome, status)
    assert upstream["detail"]
    assert await disconnect(app, connection["id"]) == upstream
    assert not queued(raw_store, connection["id"])
    assert revocations(sandbox) == 0


async def test_a_provider_that_is_down_gets_its_token_back_later(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    line: FaultyProxy,
    revoking: WhatIsDue,
    clock: FakeClock,
) -> None:
    """Pending: sealed and due; retried until it works; then job and due entry are gone, and a repeat says revoked."""
    connection = await app.connect(Person(http))
    token = (await app.fetch(connection["id"])).json()["access_token"]
    await line.cut()
    assert (await disconnect(app, connection["id"]))["outcome"] == "pending"
    assert (await app.fetch(connection["id"])).status_code == 409
    assert raw_store.exists(names.revocation(connection["id"])) == 1
    assert token.encode() not in everything_in(raw_store)
    assert await revoking.step() == 0  # not due yet

    clock.advance(seconds=31)
    assert await revoking.step() == 1
    assert await revoking.step() == 0
    assert (await disconnect(app, connection["id"]))["outcome"] == "pending"
    await line.heal()
    clock.advance(seconds=121)
    assert await revoking.step() == 1
    assert revocations(sandbox) == 1
    assert not queued(raw_store, connection["id"])
    assert (await disconnect(app, connection["id"]))["outcome"] == "revoked"
    clock.advance(seconds=86_400)
    assert await revoking.step() == 0


async def test_a_retry_spares_an_account_that_was_connected_again(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    line: FaultyProxy,
    revoking: WhatIsDue,
    clock: FakeClock,
) -> None:
    """Disconnected while the provider was down, then connected anew: the retry would end the new grant."""  # P9
    ended = await app.connect(Person(http), provider="practice-shared")
    await line.cut()
    assert (await disconnect(app, ended["id"]))["outcome"] == "pending"
    again = await app.connect(Person(http), provider="practice-shared")
    await line.heal()
    clock.advance(seconds=31)
    assert await revoking.step() == 1
    assert revocations(sandbox) == 0
    assert not queued(raw_store, ended["id"])
    assert (await disconnect(app, ended["id"]))["outcome"] == "skipped_shared"
    assert (await app.fetch(again["id"], stale_generation=1)).status_code == 200


async def test_after_a_day_the_credential_is_erased_untried(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    line: FaultyProxy,
    revoking: WhatIsDue,
    clock: FakeClock,
) -> None:
    """The sealed job has an end of its own; its due entry goes with it, and the provider is not asked."""
    connection = await app.connect(Person(http))
    await line.cut()
    await disconnect(app, connection["id"])
    raw_store.delete(names.revocation(connection["id"]))  # as its day does
    await line.heal()
    clock.advance(seconds=86_401)
    assert await revoking.step() == 1
    assert not queued(raw_store, connection["id"])
    assert revocations(sandbox) == 0


async def test_a_job_that_does_not_open_keeps_nobody_waiting(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    line: FaultyProxy,
    revoking: WhatIsDue,
    clock: FakeClock,
) -> None:
    """The others are given back; the damaged one stays as it is."""  # K3
    ids = [(await app.connect(Person(http)))["id"] for _ in range(4)]
    await line.cut()
    for connection_id in ids:
        await disconnect(app, connection_id)
    first = min(ids, key=lambda connection_id: int(names.due(connection_id).partition("{")[2].partition("}")[0]))
    job = raw_store.getrange(names.revocation(first), 0, -2)
    raw_store.set(names.revocation(first), job)
    await line.heal()
    clock.advance(seconds=31)
    assert await revoking.step() == 4
    assert revocations(sandbox) == 3
    assert raw_store.get(names.revocation(first)) == job


async def test_what_a_refresh_brings_after_the_end_is_given_back_too(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis, heart: Heart
) -> None:
    """Disconnected while the provider answers a refresh: the new tokens are nobody's, and are revoked as well."""
    behave(sandbox, rotation="revoke_on_reuse")
    connection = await app.connect(Person(http))
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection["id"], stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    assert (await disconnect(app, connection["id"]))["outcome"] == "revoked"
    assert revocations(sandbox) == 1
    let_answers_go(sandbox)
    answer = await caller
    assert (answer.status_code, answer.json()["code"]) == (409, "reauth_required")
    assert await heart.refresher.drain(60) == 0
    assert revocations(sandbox) == 2
    assert not {b"a", b"s"} & set(raw_store.hgetall(names.record(connection["id"])))
