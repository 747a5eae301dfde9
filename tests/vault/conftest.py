"""What tests of the vault share: a pipeline to the real store, also through a proxy that can be made faulty."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.records import Records
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Store
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.rotating import Filled, Open, old_ring
from tests.vault.servers import cluster_node


@pytest.fixture
def keyring() -> Keyring:
    """A ring with one key."""
    return Keyring([("k1", bytes(range(32)))])


@pytest.fixture
async def pipeline(raw_store: redis.Redis, store_server: EmbeddedStore, keyring: Keyring) -> AsyncIterator[Store]:
    """The empty store, opened as the broker opens it."""
    pipeline = open_store(store_server.url, keyring, wait_replicas=0)
    yield pipeline
    await pipeline.aclose()


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    """A Cluster of one node."""
    with cluster_node() as url:
        yield url


@pytest.fixture
async def cluster(cluster_url: str, keyring: Keyring) -> AsyncIterator[Store]:
    """The empty Cluster, opened as the broker opens it."""
    with redis.Redis.from_url(cluster_url) as node:
        node.flushall()
    pipeline = open_store(cluster_url, keyring, wait_replicas=0)
    yield pipeline
    await pipeline.aclose()


@pytest.fixture
def records(pipeline: Store, keyring: Keyring) -> Records:
    """Connections in the empty store."""
    return Records(pipeline, keyring)


@pytest.fixture
async def proxy(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[FaultyProxy]:
    """A proxy before the empty store."""
    async with FaultyProxy(store_server.url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
async def open_(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[Open]:
    """``await open_(ring)``: the store, opened by a process with this ring, and closed at the end."""
    stores: list[Store] = []

    async def make(ring: Keyring) -> Store:
        stores.append(open_store(store_server.url, ring, wait_replicas=0))
        await stores[-1].execute("PING")
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()


@pytest.fixture
async def filled(open_: Open) -> Filled:
    """A store with a few of every kind, under the old key."""
    ring = old_ring()
    return await Filled(await open_(ring), ring).add(connections=5, ended=2, parked=3, sessions=4, devices=2)
