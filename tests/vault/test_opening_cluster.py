"""Opening a Cluster: every node has to be fit, and the one that knows the keys is asked before any other is used."""

import asyncio
from collections.abc import Iterator

import pytest

from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store, reasons_not_ready
from broker.vault.redis.store import Store
from tests.journey import snapshot
from tests.vault.server_process import TestServer
from tests.vault.servers import Group, three_node_cluster, whole

KEYS = [f"key-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def servers() -> Iterator[Group]:
    """Three primaries."""
    with three_node_cluster() as group:
        yield group


@pytest.fixture
def group(servers: Group) -> Group:
    """The same, empty."""
    servers.flush()
    return servers


def elsewhere(group: Group) -> str:
    """A key at another node than what the store knows of its keys."""
    home = group.node_of(names.KEYRING)
    return next(key for key in KEYS if group.node_of(key) is not home)


def contents(group: Group) -> dict[bytes, object]:
    """Every key of every node."""
    found: dict[bytes, object] = {}
    for node in group.nodes:
        with node.client() as client:
            found |= snapshot(client)
    return found


async def hang_up(node: TestServer, store: Store, key: str) -> None:
    """End all connections to ``node``; the next command for ``key``, which is there, finds a new one to be opened."""
    with node.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
    # Whether the end was seen before this was sent or after: it uses the old connection up.
    await asyncio.gather(store.execute("GET", key), return_exceptions=True)


async def failure_of(store: Store, key: str) -> StoreUnavailable:
    """Why a write fails."""
    with pytest.raises(StoreUnavailable) as failure:
        await store.execute("SET", key, "1")
    return failure.value


async def test_the_keys_are_registered_before_the_first_command_of_any_node(group: Group, keyring: Keyring) -> None:
    """Also where that command goes to another node than the one that keeps what is known of keys."""  # K6
    store = open_store(group.url, keyring, wait_replicas=0)
    await store.execute("SET", elsewhere(group), "1")
    with group.node_of(names.KEYRING).client() as home:
        assert home.hget(names.KEYRING, "writer") == b"k1"
    await store.aclose()


async def test_a_wrong_ring_is_refused_by_every_node(group: Group, keyring: Keyring) -> None:
    """503 with the reason wherever the key lies, and nothing is written anywhere."""  # K6
    right = open_store(group.url, keyring, wait_replicas=0)
    await asyncio.gather(*(right.execute("SET", key, "kept") for key in KEYS))
    await right.aclose()
    before = contents(group)
    wrong = open_store(group.url, Keyring([("k1", bytes(32))]), wait_replicas=0)
    for key in KEYS[:12]:
        assert "'k1' is not the key the store knows" in (await failure_of(wrong, key)).detail
    assert contents(group) == before
    assert len(await reasons_not_ready(wrong, wait_replicas=0)) == 3
    await wrong.aclose()


async def test_a_ring_that_became_wrong_is_noticed_when_any_node_is_connected_anew(
    group: Group, keyring: Keyring
) -> None:
    """The node that knows the keys is asked again, although this connection leads elsewhere."""  # K6
    store = open_store(group.url, keyring, wait_replicas=0)
    key = elsewhere(group)
    await store.execute("SET", key, "1")
    with group.node_of(names.KEYRING).client() as home:
        home.hset(names.KEYRING, "kid:k2", "of another")
    await hang_up(group.node_of(key), store, key)
    assert "'k2', which is not in the keyring" in (await failure_of(store, key)).detail
    await store.aclose()


async def test_a_cluster_that_forgot_its_keys_takes_no_ring(group: Group, keyring: Keyring) -> None:
    """Clients without a keyring, at two nodes or one: any ring would pass for the first."""  # K6
    with group.node_of(names.CLIENTS).client() as client:
        client.sadd(names.CLIENTS, "cl_somebody")
    store = open_store(group.url, keyring, wait_replicas=0)
    for key in KEYS[:6]:
        assert "keys is gone" in (await failure_of(store, key)).detail
    await store.aclose()


async def test_a_node_that_is_unfit_is_named_and_not_written_to(group: Group, keyring: Keyring) -> None:
    """Its keys are 503 with the reason, the other nodes serve; mended, it serves without a restart."""  # R6
    unfit = group.node_of(elsewhere(group))
    with unfit.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        store = open_store(group.url, keyring, wait_replicas=0)
        assert "allkeys-lru" in (await failure_of(store, elsewhere(group))).detail
        fit = next(key for key in KEYS if group.node_of(key) is not unfit)
        assert await store.execute("SET", fit, "1") == b"OK"
        (reason,) = await reasons_not_ready(store, wait_replicas=0)
        assert reason.startswith(f"127.0.0.1:{unfit.port}: the store evicts keys")
        assert client.dbsize() == 0
        client.config_set("maxmemory-policy", "noeviction")
    assert await reasons_not_ready(store, wait_replicas=0) == []
    await store.aclose()


async def test_missing_replicas_are_named_for_each_node(group: Group, keyring: Keyring) -> None:
    """Commands go on; readiness gives both numbers."""  # R6
    store = open_store(group.url, keyring, wait_replicas=1)
    assert await store.execute("SET", KEYS[0], "1") == b"OK"
    reasons = await reasons_not_ready(store, wait_replicas=1)
    assert len(reasons) == 3
    assert all("0 replicas are connected" in reason for reason in reasons)
    await store.aclose()


async def test_losing_the_node_that_knows_the_keys_ends_no_other(group: Group, keyring: Keyring) -> None:
    """Who opened the store goes on at the others, also over new connections; who comes new has to wait."""  # R2
    key, home = elsewhere(group), group.node_of(names.KEYRING)
    store = open_store(group.url, keyring, wait_replicas=0)
    await store.execute("SET", key, "1")
    home.kill()
    try:
        await hang_up(group.node_of(key), store, key)
        assert await store.execute("GET", key) == b"1"
        later = open_store(group.url, keyring, wait_replicas=0)
        failure = await failure_of(later, key)
        assert ("knows of its keys can't be reached" in failure.detail, failure.retry_after) == (True, 3)
    finally:
        home.start()
        await asyncio.to_thread(whole, group.nodes)
    assert await reasons_not_ready(later, wait_replicas=0) == []
    assert await later.execute("GET", key) == b"1"
    await store.aclose()
    await later.aclose()
