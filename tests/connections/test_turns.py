"""Turns at a provider: no more at once than it bears, none while it is left alone, no wait longer than said."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import redis
from pydantic import SecretStr

from broker.connections.turns import Turns, _door
from broker.errors import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderPaused,
    ProviderRefused,
    ReauthRequired,
    StoreUnavailable,
    UnusableToken,
)
from broker.observe import metrics
from broker.providers import Provider
from broker.providers.sections import Refresh
from broker.vault import admission, names
from broker.vault.admission import Admission
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Store
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually
from tests.world import FakeClock

WHERE = "https://provider.example/token"
AGES = 60.0
PROVIDER = Provider(
    name="practice",
    display_name="Practice",
    authorization_endpoint="https://provider.example/authorize",
    token_endpoint=WHERE,
    refresh=Refresh(max_concurrent=3),
    timeout=120,  # so that no slot runs out before a test is over
)
DOOR = _door(PROVIDER, WHERE)


@pytest.fixture(autouse=True)
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of our own choosing last a minute at least, so that none is over before it is looked at."""
    monkeypatch.setattr(admission, "_SHORTEST_PAUSE", 60_000)


@pytest.fixture
async def pipelines(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[list[Store]]:
    """The connections of two replicas to the empty store."""
    keyring = Keyring([("k1", bytes(range(32)))])
    stores = [open_store(store_server.url, keyring, wait_replicas=0) for _ in range(2)]
    yield stores
    for store in stores:
        await store.aclose()


@pytest.fixture
def replicas(pipelines: list[Store], clock: FakeClock) -> list[Turns]:
    """Two replicas."""
    return [Turns(Admission(store), clock) for store in pipelines]


@pytest.fixture
async def proxy(store_server: EmbeddedStore) -> AsyncIterator[FaultyProxy]:
    """A proxy before the store."""
    async with FaultyProxy(store_server.url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def turns(replicas: list[Turns]) -> Turns:
    """One of them."""
    return replicas[0]


async def end_in(turns: Turns, error: BaseException | None, *, where: str = WHERE) -> None:
    """One request that ends so."""
    with suppress(*() if error is None else (type(error),)):
        async with turns.turn(PROVIDER, where=where, patience=AGES):
            if error is not None:
                raise error


async def paused_for(turns: Turns, *, where: str = WHERE) -> int | None:
    """How long who asks now is told to wait, or ``None``: it gets a turn."""
    try:
        async with turns.turn(PROVIDER, where=where, patience=AGES):
            return None
    except ProviderPaused as error:
        return error.retry_after


def after_the_pause(raw_store: redis.Redis, turns: Turns) -> Turns:
    """The same replica when the pause is over, as time does: in the store, and in what it remembers."""
    raw_store.hset(names.gate_state("practice", DOOR), mapping={"since": 0, "ends": 0})
    return Turns(turns._admission, turns._clock)


class Crowd:
    """Many who want a turn, and how many have one."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.served = 0
        self.go = asyncio.Event()

    async def want(self, turns: Turns, provider: Provider = PROVIDER) -> None:
        """Take a turn, and keep it until told to go."""
        async with turns.turn(provider, where=WHERE, patience=AGES):
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.go.wait()
            # Long enough for somebody to come in who should not.
            await asyncio.sleep(0.001)
            self.inside -= 1
            self.served += 1


async def test_replicas_share_the_cap(replicas: list[Turns], raw_store: redis.Redis) -> None:
    """Sixty want a turn in two processes: three have one at any time, and all get theirs."""  # F7
    crowd = Crowd()
    everybody = asyncio.gather(*(crowd.want(turns) for turns in replicas for _ in range(30)))
    await eventually(lambda: crowd.inside == 3)
    crowd.go.set()
    await everybody
    assert (crowd.most, crowd.served) == (3, 60)
    await eventually(lambda: raw_store.exists(names.gate("practice", DOOR)) == 0)


async def test_only_one_of_a_process_asks_the_store(
    turns: Turns, pipelines: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait; who has its turn behind them is known here."""
    asked = []
    enter = Admission.enter

    async def counted(self: Admission, *args: str, **options: object) -> object:
        asked.append(options["holder"])
        return await enter(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Admission, "enter", counted)
    crowd = Crowd()
    everybody = asyncio.gather(*(crowd.want(turns) for _ in range(50)))
    await eventually(lambda: len(asked) >= 6)
    # Three are in; all that was asked since was asked by the one at the head of the line.
    assert crowd.inside == 3
    waiting = len(asked)
    await asyncio.sleep(0.25)
    assert len(asked) - waiting <= 4
    crowd.go.set()
    await everybody


async def test_who_waits_too_long_is_told_that_nothing_was_sent(turns: Turns) -> None:
    """Also those behind the first in line; and the turn that becomes free later is not lost with them."""
    crowd = Crowd()
    holding = asyncio.gather(*(crowd.want(turns) for _ in range(3)))
    await eventually(lambda: crowd.inside == 3)

    async def impatient() -> None:
        async with turns.turn(PROVIDER, where=WHERE, patience=0.05):
            raise AssertionError("there was no turn")

    outcomes = await asyncio.gather(*(impatient() for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ProviderPaused] * 5
    crowd.go.set()
    await holding
    assert await paused_for(turns) is None


async def test_who_is_cancelled_in_line_or_inside_leaves_nothing_behind(turns: Turns, raw_store: redis.Redis) -> None:
    """No slot stays taken, and the line moves on."""
    crowd = Crowd()
    tasks = [asyncio.create_task(crowd.want(turns)) for _ in range(6)]
    await eventually(lambda: crowd.inside == 3)
    for task in tasks[2:5]:
        task.cancel()
    await asyncio.gather(*tasks[2:5], return_exceptions=True)
    crowd.go.set()
    await asyncio.gather(*tasks[:2], tasks[5])
    await eventually(lambda: raw_store.exists(names.gate("practice", DOOR)) == 0)
    assert turns._lines == {}


async def test_a_slot_that_came_too_late_is_given_back(
    raw_store: redis.Redis, proxy: FaultyProxy, clock: FakeClock
) -> None:
    """Who is cancelled while the store's answer is under way may have got one."""  # R4
    store = open_store(f"redis://{proxy.address}", Keyring([("k1", bytes(range(32)))]), wait_replicas=0)
    turns = Turns(Admission(store), clock)
    await end_in(turns, None)
    gate = names.gate("practice", DOOR)
    proxy.stall_answers()
    task = asyncio.create_task(end_in(turns, None))
    await eventually(lambda: raw_store.zcard(gate) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    proxy.release_answers()
    async with asyncio.timeout(60):
        await eventually(lambda: raw_store.zcard(gate) == 0)
    await store.aclose()


@pytest.mark.parametrize("seconds", [20, 30, 3600])
async def test_a_provider_that_asks_for_patience_is_left_alone_by_everybody(
    replicas: list[Turns], raw_store: redis.Redis, seconds: int
) -> None:
    """In both processes, until the time that it named; who asks meanwhile is told how long that is.

    After five minutes one request finds out whether it meant everybody.
    """  # P8
    first, second = replicas
    await end_in(first, ProviderBusy("patience", retry_after=seconds))
    for turns in (first, second, second):
        told = await paused_for(turns)
        assert told is not None
        assert min(seconds, 300) - 10 <= told <= min(seconds, 300) + 1
    assert await paused_for(after_the_pause(raw_store, second)) is None


@pytest.mark.parametrize(
    "error",
    [
        NotSent("down"),
        OutcomeUnknown("lost"),
        ProviderBusy("patience"),
        ProviderRefused("server_error", "oops", http_status=400),
        ProviderRefused("invalid_client", "who?", http_status=401),
        ProviderRefused("unauthorized_client", "not you", http_status=400),
    ],
)
async def test_five_failures_in_a_row_and_the_provider_is_left_alone(
    replicas: list[Turns], raw_store: redis.Redis, error: BrokerError
) -> None:
    """Whoever saw them; then one request at a time tries, and one that ends well opens it for all."""  # P8
    before = metrics.provider_pauses.labels("practice", "failed")._value.get()
    for turn in range(5):
        await end_in(replicas[turn % 2], error)
    assert await paused_for(replicas[1]) is not None
    assert metrics.provider_pauses.labels("practice", "failed")._value.get() == before + 1
    recovered = [after_the_pause(raw_store, turns) for turns in replicas]
    crowd = Crowd()
    everybody = asyncio.gather(*(crowd.want(turns) for turns in recovered for _ in range(5)))
    await eventually(lambda: crowd.inside == 1)
    await asyncio.sleep(0.25)
    assert crowd.most == 1
    crowd.go.set()
    await everybody
    assert crowd.served == 10


async def test_trials_that_fail_do_not_shut_out_the_fleet_for_long(
    replicas: list[Turns], raw_store: redis.Redis
) -> None:
    """An import may go on asking one that is down; whoever comes next waits as after five failures."""  # P8
    trying, fleet = replicas
    for _ in range(8):
        with suppress(NotSent):
            async with trying.turn(PROVIDER, where=WHERE, patience=AGES, trial=True):
                raise NotSent("down")
        if raw_store.hexists(names.gate_state("practice", DOOR), "ends"):
            ends, since = raw_store.hmget(names.gate_state("practice", DOOR), "ends", "since")
            assert int(ends or 0) - int(since or 0) == 60_000
            trying = after_the_pause(raw_store, trying)
    await end_in(fleet, NotSent("down"))
    assert await paused_for(fleet) in {60, 61}


@pytest.mark.parametrize(
    "error",
    [
        ProviderRefused("invalid_grant", "gone", http_status=400),
        ProviderRefused("invalid_scope", "no", http_status=400),
        ReauthRequired("over"),
        None,
    ],
)
async def test_a_refusal_of_one_grant_shows_that_the_provider_is_well(turns: Turns, error: BrokerError | None) -> None:
    """Any number of them begins no pause, and they end a row of failures."""
    for outcome in (*[NotSent("down")] * 4, error, *[NotSent("down")] * 4, error):
        await end_in(turns, outcome)
    assert await paused_for(turns) is None


@pytest.mark.parametrize(
    "error", [ProviderError("nonsense"), UnusableToken("odd"), StoreUnavailable("x"), ValueError("ours")]
)
async def test_what_says_nothing_of_the_provider_changes_nothing(turns: Turns, error: Exception) -> None:
    """It neither begins a pause nor ends a row of failures."""
    for outcome in (*[error] * 6, *[NotSent("down")] * 4, error):
        await end_in(turns, outcome)
    await end_in(turns, NotSent("down"))
    assert await paused_for(turns) is not None


async def test_one_dead_address_of_an_entry_does_not_block_the_others(turns: Turns) -> None:
    """With an address per connection, only the one that is down is left alone."""
    for _ in range(5):
        await end_in(turns, NotSent("down"), where="https://gone.example/token")
    assert await paused_for(turns, where="https://gone.example/token") is not None
    assert await paused_for(turns, where="https://here.example/token") is None


async def test_a_store_that_is_gone_hides_nothing_of_what_came_of_the_request(
    raw_store: redis.Redis, proxy: FaultyProxy, clock: FakeClock
) -> None:
    """Giving the turn back fails, and the result is still the request's own; without a store nobody enters."""  # R2
    store = open_store(f"redis://{proxy.address}", Keyring([("k1", bytes(range(32)))]), wait_replicas=0)
    turns = Turns(Admission(store), clock)
    async with turns.turn(PROVIDER, where=WHERE, patience=AGES):
        await proxy.cut()
    with pytest.raises(StoreUnavailable):
        await end_in(turns, None)
    with pytest.raises(StoreUnavailable):
        async with turns.turn(PROVIDER, where=WHERE, patience=AGES):
            raise AssertionError("nobody was asked")
    assert turns._lines == {}
    await store.aclose()


async def test_a_replica_with_an_old_secret_stops_nobody_who_has_the_new_one(
    replicas: list[Turns], raw_store: redis.Redis
) -> None:
    """While the app's secret is changed, the provider refuses some replicas: the pause is theirs."""  # P8
    outdated = PROVIDER.model_copy(update={"client_secret": SecretStr("of yesterday")})
    for _ in range(5):
        with suppress(ProviderRefused):
            async with replicas[0].turn(outdated, where=WHERE, patience=AGES):
                raise ProviderRefused("invalid_client", "who?", http_status=401)
    with pytest.raises(ProviderPaused):
        async with replicas[0].turn(outdated, where=WHERE, patience=AGES):
            raise AssertionError("there is a pause")
    assert await paused_for(replicas[1]) is None
    assert not any(b"of yesterday" in key for key in raw_store.keys("*"))


async def test_after_a_pause_those_go_first_who_have_not_failed(replicas: list[Turns], raw_store: redis.Redis) -> None:
    """Whoever always fails, and comes back in time, would otherwise begin the next pause each time."""  # P8, F7
    for _ in range(5):
        await end_in(replicas[0], OutcomeUnknown("lost"))
    now = time.time_ns() // 1_000_000
    state = names.gate_state("practice", DOOR)
    raw_store.hset(state, mapping={"since": now - 9_500, "ends": now - 500})  # over since half a second
    fresh = [Turns(turns._admission, turns._clock) for turns in replicas]
    with pytest.raises(ProviderPaused) as told:
        async with fresh[0].turn(PROVIDER, where=WHERE, patience=AGES, suspect=True):
            raise AssertionError("others go first")
    assert 7 <= (told.value.retry_after or 0) <= 10
    # What it was told is not what others are told.
    assert await paused_for(fresh[0]) is None
    await eventually(lambda: not raw_store.exists(state))
    async with fresh[1].turn(PROVIDER, where=WHERE, patience=AGES, suspect=True):
        pass


async def test_who_failed_lately_goes_when_nobody_else_came(turns: Turns, raw_store: redis.Redis) -> None:
    """A pause as long again, ten seconds at most: then it is its turn."""  # P8
    for _ in range(5):
        await end_in(turns, OutcomeUnknown("lost"))
    now = time.time_ns() // 1_000_000
    raw_store.hset(names.gate_state("practice", DOOR), mapping={"since": now - 300_000, "ends": now - 10_500})
    fresh = Turns(turns._admission, turns._clock)
    async with fresh.turn(PROVIDER, where=WHERE, patience=AGES, suspect=True):
        pass
