"""Rotating the keys: everything ends up under the new one, and opens with it alone."""

from typing import Any, cast

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Conflict, StoreUnavailable
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.replicas import LIVES
from tests.vault.rotating import (
    ENVELOPES,
    KEY_2,
    Filled,
    Open,
    age,
    back,
    both,
    kept,
    naming,
    new_ring,
    old_ring,
    rotation_of,
    silent,
)
from tests.vault.servers import cluster_node


async def test_everything_opens_with_the_new_ring_alone(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """Every kind of secret is under the new key, none names the old one, and the store needs that no more."""  # K4
    ring = both()
    store = await open_(ring)
    outcome = await rotation_of(store, ring).run("k2", silent)
    assert (outcome.writer, outcome.retired) == ("k2", ("k1",))
    assert (outcome.tally.rewrapped, outcome.tally.already, outcome.tally.unreadable) == (ENVELOPES, 0, ())
    assert naming(raw_store, "k1") == []
    assert len(naming(raw_store, "k2")) == 5 + 3 + 2 + 3 + (4 + 2) + 2
    await filled.opens_with(await open_(new_ring()), new_ring())
    with pytest.raises(StoreUnavailable, match="'k2', which is not in the keyring"):
        await open_(old_ring())


async def test_nothing_else_changes(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """Generations, ends and everything in the clear stay; no event is written."""  # K5
    sealed = {b"a", b"s", b"verifier", b"code", b"completion_code", b"upstream"}

    def in_the_clear() -> dict[bytes, Any]:
        seen: dict[bytes, Any] = {}
        for key in cast("list[bytes]", raw_store.keys("broker:*")):
            kind = raw_store.type(key)
            if kind == b"hash" and not key.startswith(names.KEYRING.encode()):
                fields = cast("dict[bytes, bytes]", raw_store.hgetall(key))
                seen[key] = {name: text for name, text in fields.items() if name not in sealed}, set(fields)
            elif kind in {b"stream", b"zset"}:
                seen[key] = raw_store.dump(key)
            seen[key + b" ends"] = raw_store.pexpiretime(key.decode())
        return {key: value for key, value in seen.items() if not key.startswith(names.REPLICAS.encode())}

    before = in_the_clear()
    ring = both()
    await rotation_of(await open_(ring), ring).run("k2", silent)
    assert in_the_clear() == before


async def test_it_is_rotated_back_by_the_same_way(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """With the ring turned round, the key that was struck off is registered again and takes everything back."""
    ring = both()
    await rotation_of(await open_(ring), ring).run("k2", silent)
    age(raw_store, LIVES)  # the first command's entry
    ring = back()
    outcome = await rotation_of(await open_(ring), ring).run("k1", silent)
    assert (outcome.tally.rewrapped, outcome.retired) == (ENVELOPES, ("k2",))
    assert naming(raw_store, "k2") == []
    await filled.opens_with(await open_(old_ring()), old_ring())


async def test_run_again_it_finds_nothing_to_do(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """No byte of what is stored changes."""
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    await rotation.run("k2", silent)
    before = kept(raw_store)
    outcome = await rotation.run("k2", silent)
    assert (outcome.tally.rewrapped, outcome.tally.already, outcome.retired) == (0, ENVELOPES, ())
    assert kept(raw_store) == before


counts = st.integers(0, 6)


@given(connections=counts, ended=counts, parked=st.integers(0, 3), sessions=counts, late=counts)
@settings(max_examples=15, deadline=None)
async def test_whatever_is_stored_ends_up_under_the_new_key(
    store_server: EmbeddedStore, connections: int, ended: int, parked: int, sessions: int, late: int
) -> None:
    """Of any number of secrets, some of them written with the new key already, all open with it alone."""  # K4
    with redis.Redis.from_url(store_server.url) as raw:
        raw.flushall()
        ring = both()
        store = open_store(store_server.url, ring, wait_replicas=0)
        # Nobody had a key before: this ring's first one would be the store's.
        first = open_store(store_server.url, old_ring(), wait_replicas=0)
        await first.execute("PING")
        await store.execute("PING")
        filled = await Filled(store, ring).add(connections=connections, ended=ended, parked=parked, sessions=sessions)
        rotation = rotation_of(store, ring)
        await rotation.move("k2", silent)
        await filled.add(connections=late, sessions=late)
        await rotation.run("k2", silent)
        assert naming(raw, "k1") == []
        alone = new_ring()
        opened = open_store(store_server.url, alone, wait_replicas=0)
        await filled.opens_with(opened, alone)
        for each in (opened, store, first):
            await each.aclose()


@pytest.mark.parametrize(
    "kind", ["flipped byte", "unknown key", "no envelope", "no header", "no tenant", "no generation"]
)
async def test_what_cant_be_opened_is_named_and_keeps_the_old_key(
    open_: Open, filled: Filled, raw_store: redis.Redis, kind: str
) -> None:
    """It is left as it is and reported by its owner's id; the rest is rewrapped; the old key stays registered."""  # K3
    connection = filled.connections[0][0]
    key, job = names.record(connection.id), filled.ended[0]
    sealed = cast("bytes", raw_store.hget(key, "a"))
    match kind:
        case "flipped byte":
            raw_store.hset(key, "a", sealed[:-1] + bytes((sealed[-1] ^ 1,)))
        case "unknown key":
            raw_store.hset(key, "a", sealed.replace(b"k1", b"k9", 1))
        case "no envelope":
            raw_store.hset(key, "a", b"\x07" + sealed[1:])
        case "no header":
            raw_store.set(names.revocation(job.connection_id), b"{}\n" + sealed)
        case "no tenant":
            raw_store.hdel(key, "t")
        case "no generation":
            raw_store.hset(key, "g", str(2**70))
    before = raw_store.hget(key, "a")
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    outcome = await rotation.run("k2", silent)
    owners = {one.id for one in outcome.tally.unreadable}
    assert owners == {job.connection_id if kind == "no header" else connection.id}
    assert outcome.retired == ()
    assert (await rotation.state()).registered == ("k1", "k2")
    if kind != "no header":
        assert raw_store.hget(key, "a") == before
    left = {
        "flipped byte": {"k1"},
        "unknown key": {"k9"},
        "no envelope": {""},
        "no header": {"k1"},
        "no tenant": {"k1"},
        "no generation": {"k1"},
    }
    assert set(await rotation.count()) - {"k2"} == left[kind]


async def test_secrets_of_a_key_that_nobody_registered_are_taken_along(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """One who was cut off and wrote late, with a key that is retired: while a ring holds it, it is rewrapped."""  # K5
    late_ring = old_ring()
    late = await open_(late_ring)
    ring = both()
    store = await open_(ring)
    rotation = rotation_of(store, ring)
    await rotation.run("k2", silent)
    await Filled(late, late_ring).add(connections=1)
    assert naming(raw_store, "k1") != []
    outcome = await rotation.run("k2", silent)
    assert outcome.tally.rewrapped == 2
    assert naming(raw_store, "k1") == []


async def test_a_store_that_knows_another_key_by_that_id_refuses(open_: Open, filled: Filled) -> None:
    """A new key needs an id of its own."""  # K6
    store = await open_(old_ring())
    wrong = Keyring([("k1", KEY_2)])
    with pytest.raises(Conflict, match="another key under the id 'k1'"):
        await rotation_of(store, wrong).move("k1", silent)


async def test_state_and_count_tell_how_far_it_is(open_: Open, filled: Filled) -> None:
    """Which key writes, which are registered, how many secrets are under each; unfinished until the old is retired."""
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    state = await rotation.state()
    assert (state.writer, state.registered, state.unfinished) == ("k1", ("k1",), False)
    assert await rotation.count() == {"k1": ENVELOPES}
    await rotation.move("k2", silent)
    state = await rotation.state()
    assert (state.writer, state.registered, state.unfinished) == ("k2", ("k1", "k2"), True)
    await rotation.run("k2", silent)
    assert (await rotation.state()).registered == ("k2",)
    assert await rotation.count() == {"k2": ENVELOPES}


async def test_it_runs_on_a_cluster() -> None:
    """Keyring and replicas lie in one slot, and so does whatever one rewrap touches."""  # K4
    with cluster_node() as url, redis.Redis.from_url(url) as raw:
        rings = [old_ring(), both(), new_ring()]
        stores = [open_store(url, ring, wait_replicas=0) for ring in rings]
        filled = await Filled(stores[0], rings[0]).add(connections=3, ended=1, parked=2, sessions=2)
        outcome = await rotation_of(stores[1], rings[1]).run("k2", silent)
        assert (outcome.retired, outcome.tally.unreadable) == (("k1",), ())
        assert naming(raw, "k1") == []
        await filled.opens_with(stores[2], rings[2])
        for store in stores:
            await store.aclose()
