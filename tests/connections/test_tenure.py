"""A process that was stopped in the middle of a refresh: whatever it lost meanwhile, it sends nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.connections.tenure import Tenure
from broker.errors import NotSent, OutcomeUnknown
from broker.models.connection import Connection
from broker.observe import steps
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.leases import Lease
from tests.connections.practice import behave, refreshes
from tests.vault.faulty_proxy import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


class Held:
    """Holds the first refresh that comes to a step."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.there = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, step: str) -> None:
        """What :func:`steps.reached` calls."""
        if step == self._step and not self.there.is_set():
            self.there.set()
            await self.released.wait()


@pytest.fixture
async def stored(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart, clock: FakeClock
) -> Connection:
    """An expired connection at a provider that ends the grant when a refresh token comes twice."""
    behave(sandbox, rotation="revoke_on_reuse")
    made = await (await make_client()).connect(Person(http))
    found = await heart.records.read(made["id"])
    assert found is not None
    clock.advance(seconds=3601)
    return found


@pytest.fixture
async def replica(heart: Heart, settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A second process of the same broker."""
    replica = build_heart(settings, providers, clock)
    yield replica
    await replica.aclose(work_ends_within=5)


@pytest.mark.parametrize("step", ["refresh.leased", "refresh.intended"])
async def test_who_was_stopped_before_the_request_does_not_send_it_later(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Its lease runs out, another replica refreshes, then it goes on: one request, and no reuse."""  # F6
    heart.leases.milliseconds = 300
    held = Held(step)
    monkeypatch.setattr(steps, "_hold", held)
    stopped = asyncio.create_task(heart.refresher.refresh(stored.id, 1))
    await held.there.wait()
    for task in asyncio.all_tasks():
        if task.get_name() == f"lease {stored.id}":
            task.cancel()  # a stopped process renews nothing
    await eventually(lambda: not raw_store.exists(names.lease(stored.id)))
    await replica.refresher.refresh(stored.id, 1)
    held.released.set()
    await stopped
    assert refreshes(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


async def test_who_was_stopped_and_finds_nobody_else_begins_anew(
    stored: Connection, heart: Heart, sandbox: httpx2.Client, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease ran out and nobody took it: it is taken again, and the refresh happens, once."""  # F6
    heart.leases.milliseconds = 300
    held = Held("refresh.leased")
    monkeypatch.setattr(steps, "_hold", held)
    stopped = asyncio.create_task(heart.refresher.refresh(stored.id, 1))
    await held.there.wait()
    raw_store.delete(names.lease(stored.id))
    heart.leases.milliseconds = 15_000
    held.released.set()
    await stopped
    assert refreshes(sandbox) == (1, 0)
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.generation == 2


async def test_a_failure_under_a_lost_lease_serves_no_dead_token(
    stored: Connection,
    make_client: MakeClient,
    heart: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What went wrong can't be noted any more; that is no success, and the caller gets a new token, or none."""  # R5
    app = await make_client("another")
    send = heart.upstream.refresh

    async def fails_once(*_: Any, **__: Any) -> Any:
        raw_store.delete(names.lease(stored.id))
        monkeypatch.setattr(heart.upstream, "refresh", send)
        raise NotSent("nobody there")

    monkeypatch.setattr(heart.upstream, "refresh", fails_once)
    answer = await app.fetch(stored.id)
    assert (answer.status_code, answer.json()["generation"]) == (200, 2)
    assert refreshes(sandbox) == (1, 0)


async def test_what_was_sent_under_a_lost_lease_is_not_sent_again(
    stored: Connection,
    make_client: MakeClient,
    heart: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failover loses lease and intent while the provider is silent: who sent knows, and has it noted again."""
    # F1, R5
    clock.advance(seconds=-3601)  # the access token lives
    app = await make_client("another")
    sent: list[str] = []

    async def silent(*_: Any, refresh_token: str, **__: Any) -> Any:
        sent.append(refresh_token)
        raw_store.delete(names.lease(stored.id))
        raw_store.hdel(names.record(stored.id), "i")
        raise OutcomeUnknown("silence")

    monkeypatch.setattr(heart.upstream, "refresh", silent)
    for _ in range(2):
        assert (await app.fetch(stored.id, min_ttl=7200)).json()["generation"] == 1
    assert len(sent) == 1
    assert raw_store.hexists(names.record(stored.id), "i")


async def test_a_lease_that_the_store_forgot_permits_nothing(
    stored: Connection, heart: Heart, raw_store: redis.Redis
) -> None:
    """A renewal finds that it is gone, as after a failover: whatever our clock says, it may be another's."""  # R5
    heart.leases.milliseconds = 400
    lease = await heart.leases.take(stored, "lease_forgotten")
    assert isinstance(lease, Lease)
    async with Tenure(heart.leases, lease, stored, asked_at=asyncio.get_running_loop().time()) as tenure:
        assert tenure.permits
        heart.leases.milliseconds = 60_000
        tenure._ends += 60  # our clock would still permit it
        raw_store.delete(names.lease(stored.id))
        await eventually(lambda: not tenure.permits)
