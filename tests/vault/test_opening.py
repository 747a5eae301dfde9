"""Opening the store: unfit stores and foreign rings are refused before the first command, with the reason."""

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store, reasons_not_ready
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Store
from tests.journey import snapshot
from tests.vault.servers import valkey

KEY_1, KEY_2, KEY_3 = (bytes(range(start, start + 32)) for start in (0, 32, 64))


async def failure_of(store: Store) -> StoreUnavailable:
    """Why a write fails."""
    with pytest.raises(StoreUnavailable) as failure:
        await store.execute("SET", "written", "1")
    return failure.value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"), "maxmemory-policy allkeys-lru"),
        (("--appendonly", "no"), "append-only"),
        (("--appendonly", "no", "--maxmemory-policy", "volatile-lru"), "; "),
    ],
    ids=["evicting", "without a file", "both"],
)
async def test_an_unfit_store_is_not_ready_and_says_why(options: tuple[str, ...], said: str, keyring: Keyring) -> None:
    """A store that evicts or keeps no file answers every command with the reason; nothing is written to it."""  # R6
    with valkey(*options) as url, redis.Redis.from_url(url) as raw:
        store = open_store(url, keyring, wait_replicas=0)
        failure = await failure_of(store)
        assert said in failure.detail
        assert failure.retry_after == 5
        assert [failure.detail] == await reasons_not_ready(store, wait_replicas=0)
        assert raw.dbsize() == 0
        await store.aclose()


async def test_a_store_that_is_mended_is_ready_without_a_restart(keyring: Keyring) -> None:
    """The reason is looked for at each attempt, not once."""  # R6
    with valkey("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru") as url, redis.Redis.from_url(url) as raw:
        store = open_store(url, keyring, wait_replicas=0)
        await failure_of(store)
        raw.config_set("maxmemory-policy", "noeviction")
        assert await reasons_not_ready(store, wait_replicas=0) == []
        assert await store.execute("SET", "written", "1") == b"OK"
        await store.aclose()


async def test_a_store_that_becomes_unfit_is_seen_by_readiness(keyring: Keyring) -> None:
    """Readiness asks the store anew: a policy changed under a running broker is told."""  # R6
    with valkey("--appendonly", "yes") as url, redis.Redis.from_url(url) as raw:
        store = open_store(url, keyring, wait_replicas=0)
        assert await reasons_not_ready(store, wait_replicas=0) == []
        raw.config_set("maxmemory-policy", "allkeys-random")
        (reason,) = await reasons_not_ready(store, wait_replicas=0)
        assert "allkeys-random" in reason
        await store.aclose()


async def test_a_replica_is_not_written_to(keyring: Keyring, store_server: EmbeddedStore) -> None:
    """A read-only replica is refused at opening."""  # R5
    with valkey("--appendonly", "yes", "--replicaof", "127.0.0.1 1") as url:
        store = open_store(url, keyring, wait_replicas=0)
        assert "replica" in (await failure_of(store)).detail
        await store.aclose()


async def test_a_primary_that_became_a_replica_is_left(keyring: Keyring) -> None:
    """A READONLY reply gives the connection up, so that the next one is examined and may reach the primary."""  # R5
    with valkey("--appendonly", "yes") as url, redis.Redis.from_url(url) as raw:
        store = open_store(url, keyring, wait_replicas=0)
        await store.execute("SET", "written", "1")
        raw.replicaof("127.0.0.1", 1)
        assert "READONLY" in (await failure_of(store)).detail
        assert "replica" in (await failure_of(store)).detail
        raw.replicaof("NO", "ONE")
        assert await store.execute("GET", "written") == b"1"
        await store.aclose()


async def test_a_full_store_refuses_and_keeps_the_connection(keyring: Keyring) -> None:
    """OOM is the command's error: what needs no memory goes on, what exists stays."""  # R5
    with valkey("--appendonly", "yes") as url, redis.Redis.from_url(url) as raw:
        store = open_store(url, keyring, wait_replicas=0)
        await store.execute("SET", "written", "before")
        raw.config_set("maxmemory", 1)
        assert "OOM" in (await failure_of(store)).detail
        assert await store.execute("GET", "written") == b"before"
        assert len([client for client in raw.client_list() if client["name"] == "broker"]) == 1
        await store.aclose()


async def test_the_first_ring_registers_its_first_key(raw_store: redis.Redis, store_server: EmbeddedStore) -> None:
    """The store remembers the key that writes, by a fingerprint; the ring's others have sealed nothing."""  # K6
    ring = Keyring([("k1", KEY_1), ("k2", KEY_2)])
    store = open_store(store_server.url, ring, wait_replicas=0)
    assert await store.execute("PING") == b"PONG"
    assert raw_store.hgetall(names.KEYRING) == {b"kid:k1": ring.fingerprints()["k1"].encode(), b"writer": b"k1"}
    await store.aclose()


async def test_a_replica_with_one_more_key_disturbs_nobody(raw_store: redis.Redis, store_server: EmbeddedStore) -> None:
    """A larger ring connects and changes nothing: the writer stays, and rings without the new key stay ready."""  # K4
    smaller = open_store(store_server.url, Keyring([("k1", KEY_1)]), wait_replicas=0)
    await smaller.execute("PING")
    before = snapshot(raw_store)

    larger = Keyring([("k2", KEY_2), ("k1", KEY_1)])
    canary = open_store(store_server.url, larger, wait_replicas=0)
    await canary.execute("PING")
    assert larger.writer == "k1"  # which key writes stands in the store, not in the order of one replica's ring
    assert snapshot(raw_store) == before
    await canary.aclose()

    await smaller.aclose()
    again = open_store(store_server.url, Keyring([("k1", KEY_1)]), wait_replicas=0)
    assert await again.execute("PING") == b"PONG"
    await again.aclose()


@pytest.mark.parametrize(
    ("ring", "said"),
    [
        ([("k2", KEY_2)], "'k1', which is not in the keyring"),
        ([("k1", KEY_3)], "'k1' is not the key the store knows"),
        ([("k2", KEY_2), ("k1", KEY_3), ("k3", KEY_1)], "'k1' is not the key the store knows"),
    ],
    ids=["key missing", "other key under the id", "one of several is another"],
)
async def test_a_wrong_ring_changes_nothing(
    raw_store: redis.Redis, store_server: EmbeddedStore, ring: list[tuple[str, bytes]], said: str
) -> None:
    """A ring that lacks a key, or holds another one under its id, is refused with the id; nothing is written."""  # K6
    right = open_store(store_server.url, Keyring([("k1", KEY_1)]), wait_replicas=0)
    await right.execute("SET", "kept", "1")
    await right.aclose()
    before = snapshot(raw_store)
    wrong = open_store(store_server.url, Keyring(ring), wait_replicas=0)
    for _ in range(3):
        assert said in (await failure_of(wrong)).detail
    assert snapshot(raw_store) == before
    await wrong.aclose()


async def test_a_store_that_forgot_its_keys_takes_no_ring(raw_store: redis.Redis, store_server: EmbeddedStore) -> None:
    """Any ring would pass for the first, so a store in use that lost what it knew of keys stays unwritten."""  # K6
    raw_store.sadd(names.CLIENTS, "cl_somebody")
    before = snapshot(raw_store)
    store = open_store(store_server.url, Keyring([("k9", bytes(32))]), wait_replicas=0)
    with pytest.raises(StoreUnavailable, match="keys is gone"):
        await store.execute("GET", "x")
    assert snapshot(raw_store) == before
    await store.aclose()
