"""A process that was stopped in the middle of a refresh: whatever it lost meanwhile, it sends nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.clock import steady
from broker.connections import attempt
from broker.connections.tenure import Tenure
from broker.errors import NotSent, OutcomeUnknown, ProviderPaused
from broker.models.connection import Connection, Status
from broker.observe import steps
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.admission import Admission, Paused
from broker.vault.leases import Lease
from tests.connections.practice import behave, refreshes
from tests.waiting import eventually
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


def looks_of(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects what each look at the lease was answered."""
    answers: list[str] = []
    take = heart.leases.take

    async def noted(connection: Connection, owner: str) -> Lease | str:
        answer = await take(connection, owner)
        answers.append("mine" if isinstance(answer, Lease) else answer)
        return answer

    monkeypatch.setattr(heart.leases, "take", noted)
    return answers


@pytest.mark.parametrize("step", ["refresh.leased", "refresh.intended"])
async def test_who_was_stopped_before_the_request_does_not_send_it_later(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
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
    clock.advance(seconds=60)  # whatever it may have sent, an answer would be there by now
    monkeypatch.setattr(attempt, "_STORES_WITHIN", 0.1)
    await replica.refresher.refresh(stored.id, 1)
    held.released.set()
    await stopped
    assert refreshes(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


async def test_who_was_stopped_before_its_commit_is_waited_for(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old access token is dead, but a new one is on its way: who takes over sends nothing, and serves that."""
    # F6, P10
    held = Held("refresh.answered")
    monkeypatch.setattr(steps, "_hold", held)
    stopped = asyncio.create_task(heart.refresher.refresh(stored.id, 1))
    await held.there.wait()
    raw_store.delete(names.lease(stored.id))  # as its time does
    looks = looks_of(replica, monkeypatch)
    taking_over = asyncio.create_task(replica.refresher.refresh(stored.id, 1))
    await eventually(lambda: looks.count("mine") >= 3)
    held.released.set()
    await asyncio.gather(stopped, taking_over)
    assert looks[-1] == "newer"
    assert refreshes(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0
    found = await heart.records.read(stored.id)
    assert found is not None
    assert (found.status, found.generation) == (Status.ACTIVE, 2)
    assert not raw_store.exists(names.lease(stored.id))


@pytest.mark.parametrize("ago", [3600, -3600], ids=["long ago", "by a clock that is wrong"])
async def test_who_never_comes_back_is_waited_for_once(
    stored: Connection,
    heart: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    ago: int,
) -> None:
    """For as long as the provider may take at most, whatever the time is that was noted; then it is tried."""  # F1, F4
    monkeypatch.setattr(attempt, "_LOOKS_EVERY", 0.01)
    monkeypatch.setattr(attempt, "_STORES_WITHIN", 0.05)
    lease = await heart.leases.take(stored, "lease_dead")
    assert isinstance(lease, Lease)
    assert await heart.leases.intend(lease, stored, started=clock() - ago * 1000)
    raw_store.delete(names.lease(stored.id))
    hasty = heart.providers.get(stored.provider).model_copy(update={"timeout": 0.5})
    monkeypatch.setattr(Registry, "of_connection", lambda *_: hasty)
    looks = looks_of(heart, monkeypatch)
    await heart.refresher.refresh(stored.id, 1)
    assert len(looks) == 1 + (5 if ago > 0 else 55)
    assert refreshes(sandbox) == (1, 0)


async def test_who_never_comes_back_is_waited_for_once_whatever_becomes_of_it(
    stored: Connection, heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    """The provider is left alone for a while: who was told so comes again, and is told so at once."""  # P2

    async def paused(*_: Any, **__: Any) -> Paused:
        return Paused(30_000)

    monkeypatch.setattr(Admission, "enter", paused)
    monkeypatch.setattr(attempt, "_LOOKS_EVERY", 0.01)
    monkeypatch.setattr(attempt, "_STORES_WITHIN", 0.05)
    lease = await heart.leases.take(stored, "lease_dead")
    assert isinstance(lease, Lease)
    assert await heart.leases.intend(lease, stored, started=clock() - 3_600_000)
    raw_store.delete(names.lease(stored.id))
    looks = looks_of(heart, monkeypatch)
    for expected in (6, 7, 8):
        with pytest.raises(ProviderPaused):
            await heart.refresher.refresh(stored.id, 1)
        assert len(looks) == expected
    assert raw_store.hexists(names.record(stored.id), "i")


async def test_who_came_back_with_nothing_is_not_waited_for(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody knows what the provider has done, but nothing is on its way any more."""  # P2

    async def unanswered(*_: Any, **__: Any) -> Any:
        raise OutcomeUnknown("silence")

    monkeypatch.setattr(heart.upstream, "refresh", unanswered)
    with pytest.raises(OutcomeUnknown):
        await heart.refresher.refresh(stored.id, 1)
    assert raw_store.hexists(names.record(stored.id), "i")
    looks = looks_of(replica, monkeypatch)
    await replica.refresher.refresh(stored.id, 1)
    assert looks == ["mine"]
    assert refreshes(sandbox) == (1, 0)


async def test_who_comes_back_with_nothing_is_waited_for_no_longer(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one who took over meanwhile goes on at once, and the one who came back is served what that one gets."""  # P2
    silent = asyncio.Event()

    async def unanswered(*_: Any, **__: Any) -> Any:
        await silent.wait()
        raise OutcomeUnknown("silence")

    monkeypatch.setattr(heart.upstream, "refresh", unanswered)
    stopped = asyncio.create_task(heart.refresher.refresh(stored.id, 1))
    await eventually(lambda: raw_store.hexists(names.record(stored.id), "f"))
    raw_store.delete(names.lease(stored.id))
    looks = looks_of(replica, monkeypatch)
    taking_over = asyncio.create_task(replica.refresher.refresh(stored.id, 1))
    await eventually(lambda: len(looks) >= 2)
    before = len(looks)
    silent.set()
    await asyncio.gather(stopped, taking_over)
    assert len(looks) < before + 10  # it would have looked for twelve seconds, ten times in each
    assert refreshes(sandbox) == (1, 0)


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
    heart.leases.milliseconds = 4000
    lease = await heart.leases.take(stored, "lease_forgotten")
    assert isinstance(lease, Lease)
    async with Tenure(heart.leases, lease, stored, asked_at=steady()) as tenure:
        assert tenure.permits
        heart.leases.milliseconds = 60_000
        tenure._ends += 60  # our clock would still permit it
        raw_store.delete(names.lease(stored.id))
        await eventually(lambda: not tenure.permits)
