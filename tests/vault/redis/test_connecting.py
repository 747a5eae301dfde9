"""From a URL to a connection: what is wrong is said, nothing leaks, and redis-py repeats nothing."""

import asyncio
import gc

import pytest
import redis

from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault import scripts
from broker.vault.redis.connecting import connector
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.pipeline import Pipeline
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually


async def test_a_connection_knows_every_script_and_says_who_it_is(
    raw_store: redis.Redis, store_server: EmbeddedStore
) -> None:
    """All scripts are loaded before the first command; the store's CLIENT LIST shows the broker."""
    connection = await connector(store_server.url, connect_timeout=60)()
    assert all(raw_store.script_exists(*(script.sha for script in scripts.ALL)))
    assert [client["name"] for client in raw_store.client_list()].count("broker") == 1
    await connection.disconnect()


async def test_redis_py_does_not_repeat_anything(raw_store: redis.Redis, store_server: EmbeddedStore) -> None:
    """The library's own retries, ten by default, are off: they would run a write whose answer got lost again."""  # R3
    connection = await connector(store_server.url, connect_timeout=60)()
    assert connection.retry.get_retries() == 0
    assert connection.retry_on_error == []
    await connection.disconnect()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:6379",
        "redis://localhost:6379?nonsense=1",
        "redis://localhost:6379?db=secret-word",
        "redis://:secret-word@localhost:6379?retry_on_timeout=x&unknown=secret-word",
    ],
)
def test_a_malformed_url_is_a_configuration_error(url: str) -> None:
    """An unknown scheme, option or a bad number is told at start, by the setting's name and without its value."""
    with pytest.raises(ConfigurationError, match="BROKER_REDIS_URL") as refused:
        connector(url, connect_timeout=1)
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize(
    "option", ["decode_responses=true", "protocol=3", "encoding=latin-1", "encoding_errors=replace"]
)
def test_an_option_that_changes_how_replies_are_read_is_refused_by_name(option: str) -> None:
    """The vault reads bytes; who copied such a URL is told which option it is, before anything is opened."""
    with pytest.raises(ConfigurationError) as refused:
        connector(f"redis://:secret-word@localhost:6379/0?{option}", connect_timeout=1)
    assert list(refused.value.faults) == [
        f"BROKER_REDIS_URL: the option {option.partition('=')[0]} can't be set, replies are read in one way"
    ]


async def test_a_connection_whose_scripts_cant_be_loaded_is_closed(
    raw_store: redis.Redis, store_server: EmbeddedStore
) -> None:
    """A store that refuses SCRIPT LOAD (an ACL) answers 503, and no connection stays behind at it."""  # R4
    raw_store.acl_setuser("limited", enabled=True, nopass=True, categories=["+@all"], commands=["-script"], keys=["*"])
    try:
        pipeline = Pipeline(connector(f"{store_server.url}?username=limited&password=x", connect_timeout=60))
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await pipeline.execute("PING")
        await eventually(lambda: not [c for c in raw_store.client_list() if c["user"] == "limited"])
        await pipeline.aclose()
        gc.collect()
    finally:
        raw_store.acl_deluser("limited")


@pytest.mark.parametrize("cancelled_after", [0, 0.001, 0.002, 0.004, 0.008])
async def test_connecting_that_is_given_up_leaves_no_connection(
    proxy: FaultyProxy, raw_store: redis.Redis, cancelled_after: float
) -> None:
    """Wherever a connection attempt is cancelled, the store sees it end."""  # R4
    before = {client["id"] for client in raw_store.client_list()}
    proxy.stall_answers()
    attempt = asyncio.ensure_future(connector(f"redis://{proxy.address}", connect_timeout=5)())
    await asyncio.sleep(cancelled_after)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    proxy.release_answers()
    await eventually(lambda: {client["id"] for client in raw_store.client_list()} <= before)


async def test_something_that_is_no_store_is_unavailable() -> None:
    """An HTTP server at the store's address is told apart from one, by the deadline."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pipeline = Pipeline(connector(f"redis://127.0.0.1:{port}", connect_timeout=60))
        with pytest.raises(StoreUnavailable):
            await pipeline.execute("PING")
        await pipeline.aclose()
