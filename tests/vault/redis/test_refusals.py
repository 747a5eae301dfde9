"""What a store says no with: each is a 503 that says how long to wait, nothing is changed, and it mends by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.store import Store
from tests.vault.server_process import TestServer
from tests.vault.servers import replicated, valkey
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    """A server alone."""
    with replicated(replicas=0) as group:
        yield group.primary


@pytest.fixture
def raw(server: TestServer) -> Iterator[redis.Redis]:
    """The empty server, as its operator reaches it."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
async def store(raw: redis.Redis, server: TestServer, keyring: Keyring) -> AsyncIterator[Store]:
    """The server as the broker opened it, with one value kept."""
    store = open_store(server.url, keyring, wait_replicas=0)
    await store.execute("SET", "kept", "1")
    yield store
    await store.aclose()


async def refused(store: Store) -> StoreUnavailable:
    """How a write is refused."""
    with pytest.raises(StoreUnavailable) as caught:
        await store.execute("SET", "kept", "2")
    assert caught.value.status == 503
    return caught.value


@pytest.mark.parametrize(
    ("code", "setting", "value", "mended", "patience"),
    [("OOM", "maxmemory", "1", "0", 5), ("NOREPLICAS", "min-replicas-to-write", "1", "0", 3)],
)
async def test_a_write_that_is_refused_changes_nothing(
    raw: redis.Redis, store: Store, code: str, setting: str, value: str, mended: str, patience: int
) -> None:
    """Memory is full, or there are too few replicas: reads go on, writes are told to come back."""  # R5
    raw.config_set(setting, value)
    try:
        failure = await refused(store)
        assert (code in failure.detail, failure.retry_after) == (True, patience)
        assert await store.execute("GET", "kept") == b"1"
    finally:
        raw.config_set(setting, mended)
    assert await store.execute("SET", "kept", "2") == b"OK"


async def test_a_store_that_cant_save_refuses(keyring: Keyring) -> None:
    """MISCONF: a snapshot that could not be written stops writes at such a server."""  # R5
    with (
        valkey("--appendonly", "yes", "--dbfilename", "dump.rdb") as url,
        redis.Redis.from_url(url) as raw,
    ):
        store = open_store(url, keyring, wait_replicas=0)
        await store.execute("SET", "kept", "1")
        folder = Path(raw.config_get("dir")["dir"])
        (folder / "dump.rdb").mkdir()  # nothing can be put in its place
        raw.config_set("save", "1 1")
        raw.set("changed", 1)
        await eventually(lambda: raw.info("persistence")["rdb_last_bgsave_status"] == "err")
        failure = await refused(store)
        assert ("MISCONF" in failure.detail, failure.retry_after) == (True, 5)
        assert await store.execute("GET", "kept") == b"1"
        raw.config_set("save", "")
        assert await store.execute("SET", "kept", "2") == b"OK"
        await store.aclose()


async def test_a_store_that_is_loading_is_waited_for(server: TestServer, raw: redis.Redis, keyring: Keyring) -> None:
    """After a restart the data comes first; who comes too early is told so, and afterwards all is there."""  # R5
    raw.config_set("appendonly", "yes")
    store = open_store(server.url, keyring, wait_replicas=0)
    await store.execute("SET", "kept", "1")
    for number in range(2000):
        raw.set(f"fill-{number}", "x" * 100)
    raw.bgrewriteaof()  # what is in its base can be loaded slowly
    await eventually(
        lambda: not any(raw.info("persistence")[f"aof_rewrite_{state}"] for state in ("in_progress", "scheduled"))
    )
    server.kill()
    server.start("--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024", waits=False)
    failures = []
    while True:
        try:
            kept = await store.execute("GET", "kept")
        except StoreUnavailable as error:
            failures.append(error)
            await asyncio.sleep(0.02)
        else:
            break
    loading = [failure for failure in failures if failure.detail == "the store is still loading its data"]
    assert loading
    assert {failure.retry_after for failure in loading} == {5}
    assert kept == b"1"
    await store.aclose()


async def test_a_replica_that_lost_its_primary_refuses(keyring: Keyring) -> None:
    """READONLY for writes, MASTERDOWN for reads; both end the connection: the next one may reach the primary."""  # R5
    with replicated(replicas=0) as group, group.primary.client() as raw:
        store = open_store(group.url, keyring, wait_replicas=0)
        raw.config_set("replica-serve-stale-data", "no")
        for command, code in ((("SET", "kept", "2"), "READONLY"), (("GET", "kept"), "MASTERDOWN")):
            await store.execute("SET", "kept", "1")
            raw.replicaof("127.0.0.1", 1)
            with pytest.raises(StoreUnavailable, match=code) as failure:
                await store.execute(*command)
            assert failure.value.retry_after == 3
            with pytest.raises(StoreUnavailable, match="is a replica"):
                await store.execute("GET", "kept")
            raw.replicaof("NO", "ONE")
            assert await store.execute("GET", "kept") == b"1"
        await store.aclose()
