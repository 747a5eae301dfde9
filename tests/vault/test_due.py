"""Due work: claimed by one, hidden for a while, due again until it is done."""

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


async def test_work_of_a_kind_nobody_here_knows_stands_in_nobodys_way(due: DueWork, raw_store: redis.Redis) -> None:
    """It is left to those who know it, and what is due behind it gets its turn."""
    entry = Entry(Kind.REVOKE, new_id("con"))
    raw_store.zadd(names.due(entry.connection_id), {"refresh:con_1": NOW - 1, entry.member: NOW})
    bucket = bucket_of(entry.connection_id)
    assert await due.claim(bucket, now=NOW, hidden_for=60_000, count=1) == []
    assert await due.claim(bucket, now=NOW, hidden_for=60_000, count=1) == [entry]
    assert raw_store.zcard(names.due(entry.connection_id)) == 2
