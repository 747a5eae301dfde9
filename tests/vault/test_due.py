"""Due work: claimed by one, hidden for a while, due again until it is done."""

import asyncio

import pytest
import redis

from broker.models.ids import bucket_of, new_id
from broker.vault import names
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.redis.store import Store
from tests.vault.samples import NOW


@pytest.fixture
def due(pipeline: Store) -> DueWork:
    """The due work of the test's store."""
    return DueWork(pipeline)


async def claim(due: DueWork, connection_id: str, now: int) -> list[Entry]:
    """Claim for a minute what is due in the connection's bucket."""
    return await due.claim(bucket_of(connection_id), now=now, hidden_for=60_000, count=10)


async def test_what_is_due_is_claimed_by_one_and_comes_again(due: DueWork, raw_store: redis.Redis) -> None:
    """Not before its time; once claimed it is hidden for a while, and then due again until it is done."""
    connection_id = new_id("con")
    revoke, unlist = Entry(Kind.REVOKE, connection_id), Entry(Kind.UNLIST, connection_id)
    raw_store.zadd(names.due(connection_id), {revoke.member: NOW, unlist.member: NOW + 1000})
    assert await claim(due, connection_id, NOW - 1) == []
    assert await claim(due, connection_id, NOW) == [revoke]
    assert await claim(due, connection_id, NOW) == []
    assert await claim(due, connection_id, NOW + 60_000) == [unlist, revoke]
    await due.done(revoke)
    assert await claim(due, connection_id, NOW + 10**9) == [unlist]


async def test_a_claim_does_not_bring_back_what_is_done(due: DueWork, raw_store: redis.Redis) -> None:
    """Who was late to claim what another one has done leaves nothing behind."""
    entry = Entry(Kind.REVOKE, new_id("con"))
    raw_store.zadd(names.due(entry.connection_id), {entry.member: NOW})
    assert await claim(due, entry.connection_id, NOW) == [entry]
    await due.done(entry)
    assert raw_store.exists(names.due(entry.connection_id)) == 0


async def test_two_who_claim_at_the_same_time_never_get_the_same(due: DueWork, raw_store: redis.Redis) -> None:
    """Forty claims of five at once among a hundred pieces: each piece is claimed once."""  # F5
    ids = [new_id("con") for _ in range(100)]
    raw_store.zadd(names.bucket_due(7), {f"refresh:{connection_id}": NOW for connection_id in ids})
    claims = await asyncio.gather(*(due.claim(7, now=NOW, hidden_for=60_000, count=5) for _ in range(40)))
    claimed = [entry.connection_id for entries in claims for entry in entries]
    assert sorted(claimed) == sorted(ids)


async def test_each_kind_is_claimed_by_those_who_do_it(due: DueWork, raw_store: redis.Redis) -> None:
    """A long queue of one kind, due earlier, doesn't stand before the others, nor is it hidden by them."""
    entry = Entry(Kind.REVOKE, new_id("con"))
    bucket = bucket_of(entry.connection_id)
    refreshes = {f"refresh:{new_id('con')}": NOW - 1 for _ in range(250)}
    raw_store.zadd(names.bucket_due(bucket), {**refreshes, entry.member: NOW})
    assert await due.claim(bucket, now=NOW, hidden_for=60_000, count=1, kinds=[Kind.REVOKE, Kind.UNLIST]) == [entry]
    ahead = await due.claim(bucket, now=NOW, hidden_for=60_000, count=300, kinds=[Kind.REFRESH])
    assert {entry.member for entry in ahead} == refreshes.keys()


async def test_work_of_a_kind_nobody_here_knows_stands_in_nobodys_way(due: DueWork, raw_store: redis.Redis) -> None:
    """It is left to those who know it, as it is, and what is due behind it gets its turn."""
    entry = Entry(Kind.REVOKE, new_id("con"))
    raw_store.zadd(names.due(entry.connection_id), {"inspect:con_1": NOW - 1, entry.member: NOW})
    bucket = bucket_of(entry.connection_id)
    assert await due.claim(bucket, now=NOW, hidden_for=60_000, count=1) == [entry]
    assert raw_store.zscore(names.due(entry.connection_id), "inspect:con_1") == NOW - 1


async def test_what_is_due_is_counted_where_it_is(due: DueWork, raw_store: redis.Redis) -> None:
    """Buckets where nothing is due now don't come up; what is claimed doesn't wait."""
    raw_store.zadd(names.bucket_due(3), {"refresh:con_1": NOW, "revoke:con_2": NOW - 5})
    raw_store.zadd(names.bucket_due(1023), {"refresh:con_3": NOW})
    raw_store.zadd(names.bucket_due(9), {"refresh:con_4": NOW + 1})
    assert await due.waiting(now=NOW) == {3: 2, 1023: 1}
    await due.claim(3, now=NOW, hidden_for=1, count=1)
    assert await due.waiting(now=NOW) == {3: 1, 1023: 1}


async def test_claimed_work_gets_another_time_unless_somebody_gave_it_one(due: DueWork, raw_store: redis.Redis) -> None:
    """What a write said since the claim stays, whether the work is put off or struck off."""
    connection_id = new_id("con")
    key, member = names.due(connection_id), f"refresh:{connection_id}"
    raw_store.zadd(key, {member: NOW})
    (entry,) = await claim(due, connection_id, NOW)
    assert await due.settle(entry, due=NOW + 5000)
    assert raw_store.zscore(key, member) == NOW + 5000
    assert not await due.settle(entry, due=None)
    assert raw_store.zscore(key, member) == NOW + 5000
    (entry,) = await claim(due, connection_id, NOW + 5000)
    assert await due.settle(entry, due=None)
    assert raw_store.exists(key) == 0
    assert not await due.settle(entry, due=NOW)
    assert raw_store.exists(key) == 0
