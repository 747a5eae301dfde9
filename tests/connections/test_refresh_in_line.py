"""What happens to those who wait: for a lease, for a turn, for a connection that always fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.errors import BrokerError, OutcomeUnknown, ProviderPaused, ProviderUnavailable, StoreUnavailable
from broker.models.connection import Connection, Credential, Fault, Status
from broker.models.event import Event
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.connections.practice import behave, refreshes
from tests.vault.samples import outbox
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def stored(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart) -> Connection:
    """A connection at a provider that ends the grant when a refresh token comes twice."""
    behave(sandbox, rotation="revoke_on_reuse")
    made = await app.connect(Person(http))
    found = await heart.records.read(made["id"])
    assert found is not None
    return found


@pytest.fixture
async def replica(heart: Heart, settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A second process of the same broker."""
    replica = build_heart(settings, providers, clock)
    yield replica
    await replica.aclose(work_ends_within=5)


def begun(at: int) -> str:
    """The intent of a replica that was killed after it had sent the refresh token."""
    return json.dumps({"owner": "lease_dead", "started": at})


def slow_line(heart: Heart, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Have every turn come only after ``meanwhile``."""
    turns = heart.turns
    turn = turns.turn

    @asynccontextmanager
    async def slowly(*arguments: Any, **options: Any) -> AsyncIterator[None]:
        async with turn(*arguments, **options):
            meanwhile()
            yield

    monkeypatch.setattr(turns, "turn", slowly)


@pytest.mark.parametrize(
    ("fault", "declared"), [({"token_fault": "ok_false"}, 0), ({"revoke_grants": True}, 1)], ids=["failed", "over"]
)
async def test_who_waited_for_another_ones_failure_does_not_repeat_it(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    fault: dict[str, object],
    declared: int,
) -> None:
    """Eight callers who ask for different things, in two processes: one request, one verdict, one event."""  # P7, F5
    behave(sandbox, token_delay_ms=300, **fault)
    outcomes = await asyncio.gather(
        *(each.refresher.refresh(stored.id, 1, min_ttl=7200 + n) for each in (heart, replica) for n in range(4)),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, BrokerError) for outcome in outcomes)
    assert refreshes(sandbox) == (0, 1)
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.health.consecutive_failures == 1
    types = [event.type for event in outbox(raw_store, stored.id)]
    assert types.count("connection.reauth_required") == declared


async def test_a_connection_that_always_fails_rests_whoever_polls_it(
    app: ServiceClient, stored: Connection, heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """After five failures it is not tried before its time; a refresh that a person asks for is."""  # P8, F7
    behave(sandbox, token_fault="ok_false")
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    statuses = [(await app.fetch(stored.id)).status_code for _ in range(20)]
    assert statuses == [502] * 5 + [503] * 15
    assert refreshes(sandbox) == (0, 5)
    resting = await app.fetch(stored.id)
    assert 1 <= int(resting.headers["Retry-After"]) <= 60
    assert (await app.call("POST", f"/v1/connections/{stored.id}/refresh")).status_code == 502
    assert refreshes(sandbox) == (0, 6)

    behave(sandbox, token_fault="none")
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.health.next_refresh_at is not None
    clock.now = found.health.next_refresh_at
    assert (await ServiceClient(app.http, app.client_id, app.secret).fetch(stored.id)).status_code == 200


async def test_a_connection_that_was_told_to_wait_does_so_and_holds_up_no_other_one(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    stored: Connection,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
) -> None:
    """429 with an hour, perhaps for this account alone: others find out soon, it keeps to its hour."""  # P8
    other = await app.connect(Person(http), subject="ben")
    behave(sandbox, token_fault="busy", retry_after=3600, faults_left=1)
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    assert (await app.fetch(stored.id)).status_code == 503
    for key in raw_store.scan_iter("*gate*state"):
        assert float(raw_store.hget(key, "ends") or 0) - float(raw_store.hget(key, "since") or 0) == 300_000
        raw_store.hset(key, mapping={"since": 0, "ends": 0})  # as five minutes do
    clock.advance(seconds=301)
    waits = await app.fetch(stored.id)
    assert (waits.status_code, int(waits.headers["Retry-After"])) == (503, 60)
    assert (await app.fetch(other["id"])).status_code == 200
    assert refreshes(sandbox) == (1, 1)


async def test_a_grace_that_ends_in_line_is_not_gambled_with(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In time when the line began, too late when it ended: it isn't sent, and the living token is served."""  # P10
    made = await app.connect(Person(http), provider="practice-grace")
    raw_store.hset(
        names.record(made["id"]),
        "i",
        begun(clock() - 59_000),  # grace: 60 s
    )
    slow_line(heart, monkeypatch, lambda: clock.advance(seconds=2))
    with pytest.raises(OutcomeUnknown):
        await heart.refresher.refresh(made["id"], 1)
    assert refreshes(sandbox) == (0, 0)
    assert (await app.fetch(made["id"])).status_code == 200


async def test_a_lost_answer_to_a_failures_note_is_no_new_beginning(
    app: ServiceClient,
    stored: Connection,
    heart: Heart,
    sandbox: httpx2.Client,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Noted, and the answer to that lost: the note is repeated, the request isn't."""  # R3
    clock.advance(seconds=3601)
    behave(sandbox, token_fault="status_500")
    annotate = heart.records.annotate
    answers: list[bool] = []

    async def losing(*arguments: Any, **options: Any) -> bool:
        answers.append(await annotate(*arguments, **options))
        if len(answers) == 1:
            raise StoreUnavailable("the store did not answer")
        return answers[-1]

    monkeypatch.setattr(heart.records, "annotate", losing)
    answer = await ServiceClient(app.http, app.client_id, app.secret).fetch(stored.id)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert answers == [True, True]
    assert refreshes(sandbox) == (0, 1)


async def test_an_unknown_outcome_is_said_whatever_was_said_before(
    stored: Connection, heart: Heart, raw_store: redis.Redis, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """An older trouble hides no interrupted refresh: it is noted once, and put off until nothing is left to lose."""
    # F1
    health = replace(stored.health, last_error=Fault("scope_lost", "x", clock()), next_refresh_at=clock() - 1)
    assert await heart.records.annotate(stored, health=health, updated_at=clock())
    raw_store.hset(names.record(stored.id), "i", begun(clock()))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await heart.refresher.refresh(stored.id, 1)
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.health.last_error is not None
    assert found.health.last_error.code == "provider_unavailable"
    assert (found.health.consecutive_failures, refreshes(sandbox)) == (1, (0, 0))
    assert found.health.next_refresh_at is not None
    assert found.access_token_expires_at is not None
    assert found.health.next_refresh_at >= found.access_token_expires_at


async def test_a_pause_before_a_spare_leaves_nothing_open(
    stored: Connection, heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own token was refused, which is an answer; that the spare one waits makes no unknown outcome of it."""  # P8
    await heart.parked.park(stored, "a spare one")
    behave(sandbox, token_fault="invalid_grant")
    turn, turns = heart.turns.turn, 0

    def turning(*arguments: Any, **options: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns == 2:
            raise ProviderPaused("no turn", retry_after=1)
        return turn(*arguments, **options)

    monkeypatch.setattr(heart.turns, "turn", turning)
    with pytest.raises(ProviderPaused):
        await heart.refresher.refresh(stored.id, 1)
    assert turns == 2
    assert not raw_store.hexists(names.record(stored.id), "i")


async def test_what_is_parked_before_the_end_is_noted_is_tried(
    stored: Connection, heart: Heart, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the spare ones were read: the end is not noted, and all begins anew, with it."""  # P7
    found = await heart.records.read_with_credential(stored.id)
    assert found is not None
    assert found[1] is not None
    works = found[1].refresh_token or ""
    later = replace(stored, generation=2)
    event = Event("credential.refreshed", stored.tenant, heart.clock(), stored.id)
    assert (await heart.records.replace(stored, later, Credential("access", "refused"), event)).stored
    candidates = heart.parked.candidates
    parked: list[Status | None] = []

    async def then_park(connection: Connection) -> Any:
        read = await candidates(connection)
        if not parked:
            parked.append(await heart.parked.park(connection, works))
        return read

    monkeypatch.setattr(heart.parked, "candidates", then_park)
    await heart.refresher.refresh(stored.id, 2)
    current = await heart.records.read(stored.id)
    assert current is not None
    assert (current.status.value, current.generation) == ("active", 3)


async def test_what_is_parked_while_somebody_disconnects_is_revoked_too(
    stored: Connection, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the job was made: the job is made again, with it."""
    disconnect = heart.revocations.disconnect
    jobs: list[Any] = []

    async def later(connection: Connection, job: Any, event: Event, **options: Any) -> bool:
        if not jobs:
            await heart.parked.park(connection, "late")
        jobs.append(job)
        return await disconnect(connection, job, event, **options)

    monkeypatch.setattr(heart.revocations, "disconnect", later)
    await heart.lifecycle.disconnect(stored, client_id=None, request_id=None)
    assert [job.parked for job in jobs] == [(), ("late",)]


async def test_a_failure_that_says_for_how_long_is_told_to_those_who_wait(
    stored: Connection, heart: Heart, replica: Heart, sandbox: httpx2.Client
) -> None:
    """They hear what the holder heard, with a time to wait."""
    behave(sandbox, token_fault="status_500", token_delay_ms=300)
    outcomes = await asyncio.gather(
        *(each.refresher.refresh(stored.id, 1) for each in (heart, replica)), return_exceptions=True
    )
    assert all(isinstance(outcome, ProviderUnavailable) for outcome in outcomes)
    assert refreshes(sandbox) == (0, 1)
