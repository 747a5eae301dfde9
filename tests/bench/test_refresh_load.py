"""The simulation of refreshes: what goes in comes out, nobody asks more than they may, and a seed says it all."""

import asyncio
import itertools
import random
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from bench.refresh_load import page, plot, simulation
from bench.refresh_load.people import DAY, around_the_clock, in_the_day, never
from bench.refresh_load.provider import Gate
from bench.refresh_load.run import Outcome
from bench.refresh_load.scenarios import per_minute, plans, report
from bench.refresh_load.simulation import BEGINS, Plan, simulate
from bench.refresh_load.virtual import run_virtually
from broker.background.chores import chores
from broker.vault import names
from broker.vault.admission import Admission, Full, Paused, Slot
from broker.vault.redis.connecting import connector
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.store import Store

_LIFE, _AHEAD, _SPREAD = 3600, 300, 450
"""Seconds: of a token, and of it what ``refresh.ahead`` and its spread take off."""
_LOOK = 20
"""Seconds that what is due lies until somebody looks and its turn has come, with room to spare."""
_WHERE = "https://simulated.example/token"


@pytest.fixture
async def store(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[Store]:
    """The empty store."""
    store = Pipeline(connector(store_server.url, connect_timeout=60))
    yield store
    await store.aclose()


def machines(count: int) -> Plan:
    """So many connections in use around the clock, new at the beginning."""
    usage = around_the_clock(BEGINS, BEGINS + 30 * DAY)
    return Plan(lambda _: [(usage, None)] * count, hours=8)


def gaps(times: list[float]) -> list[float]:
    """How far they are apart."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_every_connection_in_use_is_refreshed_as_often_as_its_tokens_end() -> None:
    """Each of 300 for eight hours: never before what is spread off, never after ``ahead``, none forgotten, no token
    over."""
    seen = simulate(machines(300))
    assert set(seen.by_number) == set(range(300))
    for times in seen.by_number.values():
        apart = gaps(times)
        assert min(apart) >= _LIFE - _AHEAD - _SPREAD
        assert max(apart) <= _LIFE - _AHEAD + _LOOK
        assert times[0] <= _LIFE - _AHEAD + _LOOK + 60
        assert times[-1] >= 8 * 3600 - (_LIFE - _AHEAD + _LOOK)
    assert sum(map(len, seen.by_number.values())) == len(seen.refreshed)
    assert (seen.late, seen.in_vain, seen.came_back) == ([], [], 0)


def test_what_nobody_uses_is_left_alone_and_who_comes_back_waits_once() -> None:
    """Idle for two days and then used in the second night: the token of a connection is renewed for its caller, and
    kept fresh from then on; one that nobody uses is not touched, and one that is used no more is left alone a day
    later."""
    long_ago, hour = BEGINS - 3 * DAY, 3_600_000
    comes = around_the_clock(BEGINS + 30 * hour, BEGINS + 60 * hour)
    goes = around_the_clock(BEGINS - hour, BEGINS + 2 * hour)
    seen = simulate(Plan(lambda _: [(never(), long_ago), (comes, long_ago), (goes, BEGINS)], hours=40))
    assert set(seen.by_number) == {1, 2}
    assert seen.came_back == 1
    assert seen.by_number[1][0] == pytest.approx(30 * 3600, abs=1)
    assert len(seen.by_number[1]) == pytest.approx(10 * 3600 / (_LIFE - _AHEAD - _SPREAD / 2), abs=2)
    assert seen.by_number[2][-1] == pytest.approx(25.5 * 3600, abs=1800)


@pytest.mark.parametrize("outage", [None, (1.0, 2.0)])
def test_the_provider_never_sees_more_at_once_than_it_bears(outage: tuple[float, float] | None) -> None:
    """Also when everything is due, and callers come beside the background work, which leaves a quarter of the slots."""
    plan = replace(machines(1000), hours=2.5, max_concurrent=8, outage=outage)
    assert simulate(plan).most_at_once == (8 if outage else 6)


@pytest.mark.parametrize("refused_at_once", [False, True])
def test_an_outage_is_survived_by_every_connection(refused_at_once: bool) -> None:
    """No answer while it lasts and few requests; then every connection is renewed once before any comes again, and
    goes on as before."""
    plan = replace(machines(300), hours=6, outage=(2.0, 3.0), refused_at_once=refused_at_once, seed=2)
    seen = simulate(plan)
    assert not [at for at in seen.refreshed if 2 * 3600 + 1 <= at < 3 * 3600]
    assert 0 < len(seen.in_vain) < 100
    for times in seen.by_number.values():
        after = [at for at in times if at >= 3 * 3600]
        assert after[0] < 3 * 3600 + 900
        assert len(after) >= 3
    figures = report(plan, seen)
    assert figures["outage"]["without_a_token_at_its_end"] == len(seen.late) == 300
    assert figures["outage"]["seconds_until_nobody_waits"] <= 900


def test_after_an_outage_the_background_work_comes_back_to_everybody() -> None:
    """Also where nobody asks for a token: each is renewed, and in the end all go on as before."""
    seen = simulate(replace(machines(300), hours=6, outage=(2.0, 3.0), asked_every=None))
    assert seen.late
    for times in seen.by_number.values():
        after = [at for at in times if at >= 3 * 3600]
        assert after[0] < 3 * 3600 + 1800
        assert len(after) >= 2
    assert seen.backlog[-1][2] == 0


def test_what_is_not_spread_comes_in_waves() -> None:
    """All made within a minute: without the spread the busiest minute of the second round is still several times as
    busy as with it."""
    plan = replace(machines(1000), hours=2.5, max_concurrent=128)
    spread, lumped = (simulate(replace(plan, spread=spread)) for spread in (True, False))
    rounds = [per_minute(seen.refreshed, hours=plan.hours)[100:] for seen in (spread, lumped)]
    assert max(rounds[1]) > 2 * max(rounds[0])


def test_a_seed_comes_to_the_same() -> None:
    """Twice the same plan, to the millisecond; another seed to something else."""
    plan = replace(machines(150), hours=3, outage=(1.0, 1.3))
    assert simulate(plan) == simulate(plan)
    assert simulate(replace(plan, seed=2)).refreshed != simulate(plan).refreshed


async def test_the_simulated_gate_is_the_one_in_the_store(store: Store, raw_store: redis.Redis) -> None:
    """1000 requests that begin and end at random, well and badly, with pauses that are over at once: both give the same
    slots and begin the same pauses."""
    chance = random.Random(7)

    def clock() -> int:
        seconds, micros = raw_store.time()
        return seconds * 1000 + micros // 1000

    real, simulated = Admission(store), Gate(clock)
    gates: tuple[Any, ...] = (real, simulated)
    state, held, seen = names.gate_state("p", _WHERE), dict[str, tuple[Slot, Slot]](), set[str]()
    for number in range(1000):
        if held and chance.random() < 0.5:
            holder = chance.choice(list(held))
            how: Any = chance.choices(["well", "failed", "refused", ""], [30, 60, 2, 5])[0]
            pause = chance.choice([None, 5_000]) if how == "refused" else None
            pairs = zip(gates, held.pop(holder), strict=True)
            lengths = [await gate.leave(slot, how, pause=pause) for gate, slot in pairs]
            assert lengths[0] == lengths[1], (number, how)
            seen.add(f"pause {lengths[0]}")
            continue
        entered = [
            await gate.enter("p", _WHERE, holder=f"h{number}", slots=4, milliseconds=600_000, suspect=number % 5 == 0)
            for gate in gates
        ]
        assert type(entered[0]) is type(entered[1]), (number, entered)
        seen.add(type(entered[0]).__name__)
        match entered:
            case [Slot() as one, Slot() as other]:
                held[f"h{number}"] = (one, other)
            case [Paused(length), Paused(about)]:
                assert length == pytest.approx(about, abs=1_000)
                # The pause is over: what both remember lies further back.
                for name in ("since", "ends"):
                    raw_store.hincrby(state, name, -length - 20_000)
                simulated._since -= length + 20_000
                simulated._ends -= length + 20_000
                held.clear()
                raw_store.delete(names.gate("p", _WHERE))
                simulated._held.clear()
    assert {Slot.__name__, Full.__name__, Paused.__name__, "pause 0", "pause 1000", "pause 2000", "pause 5000"} <= seen


def test_the_work_rests_as_the_brokers_does() -> None:
    """The pauses between two steps are those of the chore."""
    any_: Any = SimpleNamespace(step=None, settle_all=None)
    moving: Any = SimpleNamespace(publishing=any_, undoing=any_)
    chore = next(one for one in chores(any_, any_, any_, any_, moving) if one.name == "refresh ahead")
    assert (chore.rest_when_busy, chore.rest_when_idle) == (simulation.REST_WHEN_BUSY, simulation.REST_WHEN_IDLE)


def test_people_come_in_their_day_and_not_every_day() -> None:
    """Of a thousand people over ten days seven of ten come, most of them between eight and noon, for eight hours."""
    chance = random.Random(1)
    begins = [
        (begin % DAY) / 3_600_000
        for _ in range(1000)
        for begin in in_the_day(chance, begin=0, days=10, share_of_days=0.7).begins()
    ]
    assert len(begins) == pytest.approx(7000, rel=0.03)
    assert sum(8 <= hour <= 12 for hour in begins) / len(begins) == pytest.approx(0.68, abs=0.03)


def test_time_jumps_and_a_standstill_is_noticed() -> None:
    """A day is slept through in its order; where nothing can ever happen again, that is an error."""

    async def sleeps() -> float:
        await asyncio.gather(asyncio.sleep(86_400), asyncio.sleep(3_600))
        return asyncio.get_running_loop().time()

    assert run_virtually(sleeps()) == pytest.approx(86_400)


def test_the_table_and_the_curves_are_made_of_what_was_seen() -> None:
    """A row for each figure, a column for each scenario; the plot is XML with a curve for each."""
    outcomes = {}
    for name, plan in plans(quick=True).items():
        small = replace(plan, hours=3, members=machines(20).members)
        seen = simulate(small)
        outcomes[name] = Outcome(report(small, seen), per_minute(seen.refreshed, hours=3), small.outage)
    rows = page.table(outcomes).splitlines()
    assert {row.count("|") for row in rows} == {len(outcomes) + 2}
    picture = ET.fromstring(page.draw(outcomes))  # noqa: S314 - our own
    assert len(picture.findall("{http://www.w3.org/2000/svg}path")) == len(outcomes)
    assert plot.draw({"a < b": {"c & d": [0.0, 0.0]}}, minutes={"a < b": 1}, outages={}).count("&lt;") == 1
