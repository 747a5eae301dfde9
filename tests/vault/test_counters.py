"""Counters: all replicas count together, each window ends by itself, and nothing stays behind."""

import asyncio

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.counters import Counters
from broker.vault.redis.store import Store
from tests.world import FakeClock

NAME = "failures/203.0.113.7"


@pytest.fixture
def counters(pipeline: Store, clock: FakeClock) -> Counters:
    """Counters in the empty store."""
    return Counters(pipeline, clock)


async def test_many_at_once_are_all_counted(counters: Counters, pipeline: Store, clock: FakeClock) -> None:
    """Whichever replica counts; another name is another counter."""  # S8
    replicas = [counters, Counters(pipeline, clock)]
    counts = await asyncio.gather(*(replicas[i % 2].incr(NAME, 60) for i in range(30)))
    assert sorted(counts) == list(range(1, 31))
    assert await counters.get(NAME) == 30
    assert await counters.incr("failures/203.0.113.8", 60, amount=5) == 5


async def test_a_window_begins_with_its_first_event_and_is_not_prolonged(
    counters: Counters, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """No counter is ever without an end, and its end is told in seconds since the epoch."""  # F8
    await counters.incr(NAME, 60)
    assert 59_000 < int(raw_store.pttl(names.counter(NAME))) <= 60_000
    raw_store.pexpire(names.counter(NAME), 1_000)
    await counters.incr(NAME, 60)
    assert 0 < int(raw_store.pttl(names.counter(NAME))) <= 1_000
    assert clock() / 1000 < await counters.get_expiry(NAME) <= clock() / 1000 + 1


async def test_where_nothing_was_counted_there_is_nothing(counters: Counters, clock: FakeClock) -> None:
    """No window, no count; asking makes none."""
    assert await counters.get(NAME) == 0
    assert await counters.get_expiry(NAME) == clock() / 1000


async def test_counters_can_be_forgotten(counters: Counters, raw_store: redis.Redis) -> None:
    """One of them, or all; nothing else in the store is touched."""
    raw_store.set("broker:cl_1", "{}")
    for name in ("a", "b", "c"):
        await counters.incr(name, 60)
    await counters.clear("a")
    assert await counters.get("a") == 0
    assert await counters.reset() == 2
    assert raw_store.keys("broker:c*") == [b"broker:cl_1"]


async def test_a_store_that_is_gone_is_told_as_such(counters: Counters, pipeline: Store) -> None:
    """A count that was not taken is never answered as one."""
    assert await counters.check()
    await pipeline.aclose()
    assert not await counters.check()
    with pytest.raises(StoreUnavailable):
        await counters.incr(NAME, 60)


async def test_what_is_given_back_stays_within_its_window(counters: Counters, raw_store: redis.Redis) -> None:
    """One less, the end unmoved; never below nothing, and where no window is open none begins."""  # F8
    await counters.incr(NAME, 60, amount=2)
    raw_store.pexpire(names.counter(NAME), 1_000)
    await counters.give_back(NAME)
    assert await counters.get(NAME) == 1
    assert 0 < int(raw_store.pttl(names.counter(NAME))) <= 1_000
    for _ in range(3):
        await counters.give_back(NAME)
    assert await counters.get(NAME) == 0
    raw_store.delete(names.counter(NAME))
    await counters.give_back(NAME)
    assert raw_store.keys("broker:count:*") == []
