"""Counters: all replicas count together, each window ends by itself, and nothing stays behind."""

import asyncio

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.counters import Counters
from broker.vault.redis.store import Store

NAME = "failures/203.0.113.7"


@pytest.fixture
def counters(pipeline: Store) -> Counters:
    """Counters in the empty store."""
    return Counters(pipeline)


async def test_many_at_once_are_all_counted(counters: Counters, pipeline: Store) -> None:
    """Whichever replica counts; another name is another counter."""  # S8
    replicas = [counters, Counters(pipeline)]
    counted = await asyncio.gather(*(replicas[i % 2].count(NAME, 60_000) for i in range(30)))
    assert sorted(each.number for each in counted) == list(range(1, 31))
    assert (await counters.count("failures/203.0.113.8", 60_000)).number == 1


async def test_a_window_begins_with_its_first_event_and_is_not_prolonged(
    counters: Counters, raw_store: redis.Redis
) -> None:
    """No counter is ever without an end, and each event is told when that is."""  # F8
    assert 50_000 < (await counters.count(NAME, 60_000)).left <= 60_000
    raw_store.pexpire(names.counter(NAME), 20_000)
    assert 0 < (await counters.count(NAME, 60_000)).left <= 20_000
    assert 0 < int(raw_store.pttl(names.counter(NAME))) <= 20_000


async def test_a_window_that_has_ended_is_forgotten(counters: Counters, raw_store: redis.Redis) -> None:
    """Counting starts anew, and so does the window."""  # F8
    for _ in range(3):
        await counters.count(NAME, 60_000)
    raw_store.pexpire(names.counter(NAME), 0)
    number, left = await counters.count(NAME, 60_000)
    assert number == 1
    assert 50_000 < left <= 60_000


async def test_a_store_that_is_gone_is_told_as_such(counters: Counters, pipeline: Store) -> None:
    """A count that was not taken is never answered as one."""
    await pipeline.aclose()
    with pytest.raises(StoreUnavailable):
        await counters.count(NAME, 60_000)
    with pytest.raises(StoreUnavailable):
        await counters.give_back(NAME)


async def test_what_is_given_back_stays_within_its_window(counters: Counters, raw_store: redis.Redis) -> None:
    """One less, the end unmoved; never below nothing, and where no window is open none begins."""  # F8
    for _ in range(2):
        await counters.count(NAME, 60_000)
    raw_store.pexpire(names.counter(NAME), 20_000)
    await counters.give_back(NAME)
    assert raw_store.get(names.counter(NAME)) == b"1"
    assert 0 < int(raw_store.pttl(names.counter(NAME))) <= 20_000
    for _ in range(3):
        await counters.give_back(NAME)
    assert raw_store.get(names.counter(NAME)) == b"0"
    raw_store.delete(names.counter(NAME))
    await counters.give_back(NAME)
    assert raw_store.keys("broker:count:*") == []
