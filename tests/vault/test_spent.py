"""Identifiers that work once: for one owner, on every replica, also when the answer is lost."""

import asyncio

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.store import Store
from broker.vault.spent import SpentIds
from tests.vault.faulty_proxy import FaultyProxy


async def test_one_of_many_at_once_has_it(pipeline: Store, raw_store: redis.Redis) -> None:
    """And it is forgotten when it was said to be, not later for having been tried again."""  # S3
    spent = SpentIds(pipeline)
    outcomes = await asyncio.gather(*(spent.spend("cl_1", "a", lifetime=60_000 + turn) for turn in range(50)))
    assert outcomes == [True] + [False] * 49
    assert 0 < raw_store.pttl(names.spent("cl_1", "a")) <= 60_000
    raw_store.delete(names.spent("cl_1", "a"))
    assert await spent.spend("cl_1", "a", lifetime=60_000)


async def test_owners_and_identifiers_are_told_apart(pipeline: Store, raw_store: redis.Redis) -> None:
    """None stands for another, whatever characters it is made of; none can be read in the store."""  # S3, K1
    spent = SpentIds(pipeline)
    pairs = [("cl_1", "a"), ("cl_2", "a"), ("cl_1", "b"), ("cl_1", "a\r\nb"), ("cl_1", "{x}"), ("cl_1", "é" * 200)]
    for owner, identifier in pairs:
        assert await spent.spend(owner, identifier, lifetime=60_000)
        assert not await spent.spend(owner, identifier, lifetime=60_000)
    keys = raw_store.keys("*:spent:*")
    assert len(keys) == len(pairs)
    assert {len(key) for key in keys} == {len("broker:spent:") + 22}


async def test_a_lost_answer_is_no_leave_to_spend_it(
    pipeline: Store, proxy: FaultyProxy, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """Nobody knows whether it was spent, so the caller is refused; nothing is tried a second time."""  # R3
    unlucky = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    await unlucky.execute("PING")
    proxy.drop_next_answer()
    with pytest.raises(StoreUnavailable):
        await SpentIds(unlucky).spend("cl_1", "a", lifetime=60_000)
    await unlucky.aclose()
    assert raw_store.exists(names.spent("cl_1", "a"))
    assert not await SpentIds(pipeline).spend("cl_1", "a", lifetime=60_000)
