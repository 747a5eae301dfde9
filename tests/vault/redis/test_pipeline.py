"""The pipeline: concurrent commands share batches, and each has an answer, an error and an end of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from broker.errors import StoreUnavailable
from broker.vault import scripts
from broker.vault.redis.connecting import Connect, connector
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.pipeline import Pipeline
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually


class CountedConnect:
    """Opens real connections and notes how many commands each write carried."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.writes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> AbstractConnection:
        await self.gate.wait()
        connection = await self._connect()
        assert connection._writer is not None
        transport = connection._writer.transport
        write = transport.write

        def counted(data: bytes) -> None:
            self.writes.append(data.count(b"*"))  # no argument here has an asterisk
            write(data)

        transport.write = counted  # type: ignore[method-assign,assignment]
        return connection


@pytest.fixture
def connect(raw_store: redis.Redis, store_server: EmbeddedStore) -> CountedConnect:
    """Opens counted connections to the empty store."""
    return CountedConnect(connector(store_server.url, connect_timeout=60))


@pytest.fixture
async def pipeline(connect: CountedConnect) -> AsyncIterator[Pipeline]:
    """A pipeline over counted connections."""
    pipeline = Pipeline(connect)
    yield pipeline
    await pipeline.aclose()


async def test_concurrent_commands_travel_in_one_write(pipeline: Pipeline, connect: CountedConnect) -> None:
    """300 requests at once are one write, and each gets the answer to its own command."""  # R4
    await asyncio.gather(*(pipeline.execute("SET", f"k{n}", f"v{n}") for n in range(300)))
    answers = await asyncio.gather(*(pipeline.execute("GET", f"k{n}") for n in range(300)))
    assert answers == [f"v{n}".encode() for n in range(300)]
    assert connect.writes == [300, 300]


async def test_a_batch_has_a_size_limit(pipeline: Pipeline, connect: CountedConnect) -> None:
    """More than 512 commands are several writes, in order."""
    await asyncio.gather(*(pipeline.execute("RPUSH", "list", n) for n in range(600)))
    assert connect.writes == [512, 88]
    assert await pipeline.execute("LRANGE", "list", 0, -1) == [str(n).encode() for n in range(600)]


async def test_commands_gather_while_a_batch_is_on_its_way(proxy: FaultyProxy) -> None:
    """A few that are asked for meanwhile leave as one write after it; a lone command doesn't wait for company."""
    connect = CountedConnect(connector(f"redis://{proxy.address}", connect_timeout=60))
    slow = Pipeline(connect)
    await slow.execute("PING")
    proxy.stall_answers()
    first = asyncio.create_task(slow.execute("SET", "a", 1))
    await eventually(lambda: connect.writes == [1, 1])
    others = [asyncio.create_task(slow.execute("INCR", "n")) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert connect.writes == [1, 1]
    proxy.release_answers()
    assert await first == b"OK"
    assert await asyncio.gather(*others) == list(range(1, 6))
    assert connect.writes == [1, 1, 5]
    await slow.aclose()


async def test_a_second_batch_follows_where_it_is_worth_a_round(proxy: FaultyProxy) -> None:
    """As much as is on its way already, and no third one: so neither side waits for the other."""
    connect = CountedConnect(connector(f"redis://{proxy.address}", connect_timeout=60))
    slow = Pipeline(connect)
    await slow.execute("PING")
    proxy.stall_answers()
    every = [asyncio.create_task(slow.execute("INCR", "n")) for _ in range(20)]
    await eventually(lambda: connect.writes == [1, 20])
    every += [asyncio.create_task(slow.execute("INCR", "n")) for _ in range(19)]
    await asyncio.sleep(0.05)
    assert connect.writes == [1, 20]
    every += [asyncio.create_task(slow.execute("INCR", "n"))]
    await eventually(lambda: connect.writes == [1, 20, 20])
    every += [asyncio.create_task(slow.execute("INCR", "n")) for _ in range(60)]
    await asyncio.sleep(0.05)
    assert connect.writes == [1, 20, 20]
    proxy.release_answers()
    assert await asyncio.gather(*every) == list(range(1, 101))
    assert connect.writes == [1, 20, 20, 60]
    await slow.aclose()


async def test_an_error_reply_belongs_to_its_command_alone(pipeline: Pipeline, connect: CountedConnect) -> None:
    """A WRONGTYPE in the middle of a batch fails one caller; the connection and the neighbours go on."""  # R4
    await pipeline.execute("LPUSH", "list", "x")
    outcomes = await asyncio.gather(
        pipeline.execute("SET", "a", "1"),
        pipeline.execute("GET", "list"),
        pipeline.execute("GET", "a"),
        pipeline.execute("NOSUCHCOMMAND", "secret-argument"),
        pipeline.execute("INCR", "a"),
        return_exceptions=True,
    )
    assert list(outcomes[0::2]) == [b"OK", b"1", 2]
    wrong_type, unknown = outcomes[1], outcomes[3]
    assert isinstance(wrong_type, StoreUnavailable)
    assert "WRONGTYPE" in wrong_type.detail
    assert isinstance(unknown, StoreUnavailable)
    assert "secret-argument" not in unknown.detail  # K1: the reply quotes the arguments
    assert connect.writes == [1, 5]


async def test_an_argument_that_cant_be_packed_fails_alone(pipeline: Pipeline, connect: CountedConnect) -> None:
    """An argument of a wrong type is its caller's error; nothing of that command is sent."""
    odd: Any = object()
    outcomes = await asyncio.gather(
        pipeline.execute("SET", "a", "1"),
        pipeline.execute("SET", "b", odd),
        pipeline.execute("GET", "a"),
        return_exceptions=True,
    )
    assert list(outcomes[0::2]) == [b"OK", b"1"]
    assert isinstance(outcomes[1], TypeError)
    assert connect.writes == [2]
    assert await pipeline.execute("EXISTS", "b") == 0


async def test_too_much_waiting_is_refused_at_once(connect: CountedConnect) -> None:
    """Beyond the limit a command fails immediately and is never sent; what waited before it is served."""
    connect.gate.clear()
    pipeline = Pipeline(connect, max_waiting=3)
    waiting = [asyncio.create_task(pipeline.execute("INCR", "n")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many") as refused:
        await pipeline.execute("INCR", "n")
    assert refused.value.retry_after == 1
    connect.gate.set()
    assert await asyncio.gather(*waiting) == [1, 2, 3]
    assert await pipeline.execute("GET", "n") == b"3"
    await pipeline.aclose()


async def test_closing_fails_what_waits_and_refuses_what_comes(proxy: FaultyProxy) -> None:
    """At shutdown neither the batch under way nor the commands behind it hang, and nothing more is taken."""
    pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60))
    await pipeline.execute("PING")
    proxy.stall_answers()
    sent = asyncio.create_task(pipeline.execute("GET", "sent-before"))
    await eventually(lambda: b"sent-before" in proxy.asked)
    waiting = asyncio.create_task(pipeline.execute("GET", "never-sent"))
    await asyncio.sleep(0)
    await pipeline.aclose()
    for task in (sent, waiting):
        with pytest.raises(StoreUnavailable):
            await task
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await pipeline.execute("PING")
    assert b"never-sent" not in proxy.asked


async def test_a_pipeline_that_was_never_used_closes(connect: CountedConnect) -> None:
    """Closing opens nothing."""
    await Pipeline(connect).aclose()
    assert connect.writes == []


async def test_a_store_that_forgot_its_scripts_is_told_them_again(pipeline: Pipeline, raw_store: redis.Redis) -> None:
    """After SCRIPT FLUSH a script runs, once, and is known from then on; so do many at the same time."""
    await pipeline.run(scripts.COUNT, ["counter"], [1, 60_000])
    raw_store.script_flush()
    counts = await asyncio.gather(*(pipeline.run(scripts.COUNT, ["counter"], [1, 60_000]) for _ in range(20)))
    assert sorted(count for count, _ in counts) == list(range(2, 22))
    assert raw_store.script_exists(scripts.COUNT.sha) == [True]


async def test_a_scripts_own_error_is_its_callers(pipeline: Pipeline, raw_store: redis.Redis) -> None:
    """A script on a key of another type fails with the store's code, and changes nothing."""
    raw_store.lpush("counter", "x")
    with pytest.raises(StoreUnavailable, match="refused a command"):
        await pipeline.run(scripts.COUNT, ["counter"], [1, 60_000])
    assert raw_store.lrange("counter", 0, -1) == [b"x"]


async def test_the_reply_to_asking_is_nobodys(pipeline: Pipeline) -> None:
    """Even if it is an error, as here, where there is no Cluster: what follows has its own."""
    await pipeline.execute("SET", "a", "1")
    asked = [pipeline.submit(("GET", "a"), asking=True), pipeline.submit(("ECHO", "next"))]
    assert [await sent.answer for sent in asked] == [b"1", b"next"]


async def test_a_server_that_became_a_replica_is_left(pipeline: Pipeline, raw_store: redis.Redis) -> None:
    """The next connection may lead to the primary; those who were answered meanwhile keep their answers."""  # R5
    first = await pipeline.execute("CLIENT", "ID")
    raw_store.replicaof("127.0.0.1", 1)
    try:
        refused, read = await asyncio.gather(
            pipeline.execute("SET", "a", "1"), pipeline.execute("ECHO", "read"), return_exceptions=True
        )
        assert isinstance(refused, StoreUnavailable)
        assert read == b"read"
    finally:
        raw_store.replicaof("NO", "ONE")
    assert await pipeline.execute("CLIENT", "ID") != first
