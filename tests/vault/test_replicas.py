"""Who lives: beats tell what a process reads and writes, and bring which key is to write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis
from redis.crc import key_slot

from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Store
from broker.vault.replicas import LIVES, Replica, Replicas, Role
from broker.vault.rotation import Rotation
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.rotating import age
from tests.waiting import eventually

KEY_1, KEY_2 = bytes(range(32)), bytes(range(32, 64))

Join = Callable[[Keyring], Awaitable[Replicas]]


@pytest.fixture
async def join(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[Join]:
    """``await join(ring)``: a process with this ring and a connection of its own, which has not beaten yet.

    The store is one in which ``k1`` writes.
    """
    stores = [open_store(store_server.url, Keyring([("k1", KEY_1)]), wait_replicas=0)]
    await stores[0].execute("PING")

    async def make(ring: Keyring) -> Replicas:
        stores.append(open_store(store_server.url, ring, wait_replicas=0))
        await stores[-1].execute("PING")
        return Replicas(stores[-1], ring)

    yield make
    for store in stores:
        await store.aclose()


async def living(store: Store, keyring: Keyring) -> tuple[Replica, ...]:
    """Who lives, by the store."""
    return (await Rotation(store, keyring, Replicas(store, keyring)).state()).living


def one_ring() -> Keyring:
    """The ring of a replica that has not heard of a new key."""
    return Keyring([("k1", KEY_1)])


def both_rings() -> Keyring:
    """The ring of one that has."""
    return Keyring([("k2", KEY_2), ("k1", KEY_1)])


async def test_a_process_says_what_it_reads_and_writes(
    join: Join, pipeline: Store, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """Its keys by fingerprint, the one it writes with, and what it is; a beat more prolongs the same entry."""  # K4
    ring = both_rings()
    replica = await join(ring)
    await replica.beat()
    (seen,) = await living(pipeline, keyring)
    assert (seen.role, seen.writes, dict(seen.keys)) == ("worker", "k1", dict(ring.fingerprints()))
    assert seen.holds("k2", ring.fingerprints()["k2"])
    assert not seen.holds("k2", ring.fingerprints()["k1"])
    assert not seen.holds("k3", ring.fingerprints()["k2"])
    age(raw_store, 1000)
    await replica.beat()
    (again,) = await living(pipeline, keyring)
    assert (again.id, again.until >= seen.until) == (seen.id, True)


async def test_no_key_stands_in_a_beat(join: Join, raw_store: redis.Redis) -> None:
    """What a replica says of itself holds fingerprints only."""  # K1
    await (await join(both_rings())).beat()
    (said,) = raw_store.hvals(names.REPLICAS)
    for key in (KEY_1, KEY_2):
        assert key not in said
        assert key.hex().encode() not in said


async def test_a_replica_writes_with_what_the_store_says(join: Join, pipeline: Store, keyring: Keyring) -> None:
    """Which key writes is heard with a beat, and said in the same breath."""  # K4
    rings = [both_rings(), both_rings()]
    replicas = [await join(ring) for ring in rings]
    for replica in replicas:
        await replica.beat()
    await pipeline.execute("HSET", names.KEYRING, "writer", "k2")
    await replicas[0].beat()
    assert [ring.writer for ring in rings] == ["k2", "k1"]
    assert sorted(seen.writes for seen in await living(pipeline, keyring)) == ["k1", "k2"]
    await replicas[1].beat()
    assert [seen.writes for seen in await living(pipeline, keyring)] == ["k2", "k2"]


async def test_a_replica_that_lacks_the_writing_key_says_so(join: Join, pipeline: Store) -> None:
    """It goes on with the key it has; nothing is sealed with a key that it doesn't hold."""  # K4
    ring = one_ring()
    replica = await join(ring)
    await pipeline.execute("HSET", names.KEYRING, "writer", "k2")
    with pytest.raises(ConfigurationError, match="'k2'"):
        await replica.beat()
    assert ring.writer == "k1"


async def test_who_ends_signs_off_and_who_is_killed_runs_out(
    join: Join, pipeline: Store, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """A graceful end is seen at once; the others' time is over by the store's clock, and their entries go."""
    replicas = [await join(both_rings()) for _ in range(3)]
    for replica in replicas:
        await replica.beat()
    await replicas[0].sign_off()
    assert len(await living(pipeline, keyring)) == 2
    assert 0 < raw_store.pttl(names.REPLICAS) <= LIVES
    age(raw_store, LIVES + 1000)
    assert await living(pipeline, keyring) == ()
    await replicas[1].beat()
    assert raw_store.hlen(names.REPLICAS) == 1


async def test_who_never_beat_has_nothing_to_sign_off(join: Join, raw_store: redis.Redis) -> None:
    """A command that seals nothing writes nothing, neither at its beginning nor at its end."""
    replica = await join(one_ring())
    await replica.sign_off()
    assert not raw_store.exists(names.REPLICAS)


async def test_beats_go_on_after_the_store_was_away(
    proxy: FaultyProxy, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat that fails is tried again soon; it ends neither the beats nor the process."""  # R1
    monkeypatch.setattr("broker.vault.replicas.BEAT_EVERY", 0.05)
    ring = one_ring()
    store = open_store(f"redis://{proxy.address}", ring, wait_replicas=0)
    failed = 0

    class Watched(Replicas):
        async def beat(self, role: Role = "worker") -> None:
            nonlocal failed
            try:
                await super().beat(role)
            except StoreUnavailable:
                failed += 1
                raise

    beating = asyncio.create_task(Watched(store, ring).beat_on())
    await eventually(lambda: raw_store.hlen(names.REPLICAS) == 1)
    await proxy.cut()
    raw_store.delete(names.REPLICAS)
    await eventually(lambda: failed >= 2)
    await proxy.heal()
    await eventually(lambda: raw_store.hlen(names.REPLICAS) == 1)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    await store.aclose()


async def test_a_full_store_counts_its_replicas(join: Join, pipeline: Store, keyring: Keyring) -> None:
    """A replica that could not be counted could be left behind."""  # R5
    replica = await join(both_rings())
    await pipeline.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        await replica.beat()
    finally:
        await pipeline.execute("CONFIG", "SET", "maxmemory", 0)
    assert len(await living(pipeline, keyring)) == 1


def test_replicas_and_keyring_share_a_slot() -> None:
    """One script sees both, also on a Cluster."""
    assert key_slot(names.REPLICAS.encode()) == key_slot(names.KEYRING.encode())
    assert names.REPLICAS.startswith(names.PREFIX)


async def test_who_serves_is_no_command(join: Join) -> None:
    """Of both, those that live are counted."""
    worker, command = await join(one_ring()), await join(one_ring())
    assert await command.serving() == 0
    await worker.beat()
    async with command.counted():
        assert await command.serving() == 1
    await worker.sign_off()
    assert await command.serving() == 0
