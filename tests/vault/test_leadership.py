"""Which replica does a chore: one at a time, another as soon as it gives up or dies."""

import redis

from broker.vault import names
from broker.vault.leadership import Leadership
from broker.vault.redis.store import Store


async def test_one_replica_leads_until_it_resigns(pipeline: Store) -> None:
    """It goes on leading; the other one takes over at once after that; chores are led separately."""
    first, second = Leadership(pipeline), Leadership(pipeline)
    assert await first.leads("settle")
    assert not await second.leads("settle")
    assert await second.leads("revoke")
    assert await first.leads("settle")
    await first.resign()
    assert await second.leads("settle")
    assert not await first.leads("settle")


async def test_a_replica_that_died_is_followed(pipeline: Store, raw_store: redis.Redis) -> None:
    """A lead has an end; who lost it while it was stopped neither prolongs nor resigns the next one's."""
    first, second = Leadership(pipeline), Leadership(pipeline)
    await first.leads("settle")
    assert 0 < raw_store.pttl(names.leader("settle")) <= 15_000
    raw_store.delete(names.leader("settle"))  # it ran out
    assert await second.leads("settle")
    await first.resign()
    assert await second.leads("settle")
    assert not await first.leads("settle")


async def test_a_full_store_has_a_leader(pipeline: Store, raw_store: redis.Redis) -> None:
    """When memory is full, who leads goes on leading, and somebody follows when they resign: what is moved and erased
    then makes room."""  # R5
    first, second = Leadership(pipeline), Leadership(pipeline)
    assert await first.leads("settle")
    raw_store.config_set("maxmemory", 1)
    try:
        assert await first.leads("settle")
        assert not await second.leads("settle")
        await first.resign()
        assert await second.leads("settle")
    finally:
        raw_store.config_set("maxmemory", 0)
