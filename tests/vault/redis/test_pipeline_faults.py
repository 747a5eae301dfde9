"""A store that is late, gone, or dies in the middle: callers hear it by the deadline, and nothing runs twice."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import redis
from redis.asyncio.connection import AbstractConnection
from structlog.testing import capture_logs

from broker.errors import StoreUnavailable
from broker.vault.redis.connecting import connector
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.line import Line
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.sent import Sent
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import LoopTime, eventually

DEADLINE = 600.0
"""Seconds: no test gets there but by :class:`LoopTime`."""


def through(proxy: FaultyProxy) -> Pipeline:
    """A pipeline through the proxy."""
    return Pipeline(connector(f"redis://{proxy.address}", connect_timeout=DEADLINE), deadline=DEADLINE)


async def test_a_store_that_stalls_is_given_up_by_the_deadline(
    proxy: FaultyProxy, raw_store: redis.Redis, loop_time: LoopTime
) -> None:
    """Callers get 503 while nothing is ever answered; afterwards all works, on one new connection."""  # R2
    pipeline = through(proxy)
    await pipeline.execute("SET", "a", 0)
    proxy.stall_answers()
    commands = [asyncio.create_task(pipeline.execute("INCR", "a")) for _ in range(5)]
    await eventually(lambda: proxy.asked.count(b"INCR\r\n$1\r\na\r\n") == 5)
    loop_time.advance(seconds=DEADLINE)
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) and outcome.retry_after == 1 for outcome in outcomes)
    another = asyncio.create_task(pipeline.execute("INCR", "a"))
    await eventually(lambda: proxy.accepted == 2)  # connecting stalls as well
    loop_time.advance(seconds=DEADLINE)
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        await another
    proxy.release_answers()
    assert await pipeline.execute("GET", "a") == b"5"
    await eventually(lambda: len([c for c in raw_store.client_list() if c["name"] == "broker"]) == 1)
    await pipeline.aclose()


async def test_what_waits_behind_a_stalled_batch_is_not_forgotten(proxy: FaultyProxy, loop_time: LoopTime) -> None:
    """Commands that were never sent are answered too, although the batch before them got lost."""  # R2
    pipeline = through(proxy)
    await pipeline.execute("PING")
    proxy.stall_answers()
    first = asyncio.create_task(pipeline.execute("SET", "sent-before", 1))
    await eventually(lambda: b"sent-before" in proxy.asked)
    second = asyncio.create_task(pipeline.execute("SET", "never-sent", 1))
    await asyncio.sleep(0)
    loop_time.advance(seconds=DEADLINE)
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert b"never-sent" not in proxy.asked
    await pipeline.aclose()


async def test_a_lost_answer_has_one_effect(proxy: FaultyProxy, raw_store: redis.Redis) -> None:
    """An INCR whose answer is dropped fails for its caller, and ran exactly once: nothing repeats it."""  # R3
    pipeline = through(proxy)
    await pipeline.execute("PING")
    for run in range(1, 11):
        proxy.drop_next_answer()
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await pipeline.execute("INCR", "n")
        assert await pipeline.execute("GET", "n") == str(run).encode()
    assert raw_store.get("n") == b"10"
    assert proxy.asked.count(b"INCR\r\n$1\r\nn\r\n") == 10
    await pipeline.aclose()


@pytest.mark.parametrize(("arrives", "answered"), [(0, 0), (3, 0), (4, 1), (10, 2), (15, 3)])
async def test_a_connection_that_ends_within_a_batch_fails_the_rest_of_it(
    proxy: FaultyProxy, raw_store: redis.Redis, arrives: int, answered: int
) -> None:
    """Whose answer has arrived whole keeps it; the others fail; none of the batch is sent again."""  # R3
    pipeline = through(proxy)
    await pipeline.execute("PING")
    proxy.end_after_answer_bytes(arrives)  # an answer to INCR is four bytes: ":1\r\n"
    outcomes = await asyncio.gather(*(pipeline.execute("INCR", f"n{n}") for n in range(4)), return_exceptions=True)
    assert outcomes[:answered] == [1] * answered
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes[answered:])
    assert await pipeline.execute("MGET", "n0", "n1", "n2", "n3") == [b"1"] * 4
    assert raw_store.mget("n0", "n1", "n2", "n3") == [b"1"] * 4
    await pipeline.aclose()


async def test_a_connection_closed_while_idle_costs_no_request(proxy: FaultyProxy) -> None:
    """When the store hangs up between two requests, the second one is sent on a new connection and succeeds."""
    pipeline = through(proxy)
    await pipeline.execute("PING")
    await proxy.cut()
    await proxy.heal()
    for _ in range(10):  # rounds of the event loop, in which it sees the end of the connection
        await asyncio.sleep(0)
    assert await pipeline.execute("INCR", "n") == 1
    assert proxy.asked.count(b"INCR\r\n$1\r\nn\r\n") == 1
    await pipeline.aclose()


async def test_a_connection_that_ended_before_it_was_taken_over_is_told_so(proxy: FaultyProxy) -> None:
    """Its end is told to whoever had it before, once: what takes it over must not wait for that."""
    connection = await connector(f"redis://{proxy.address}", connect_timeout=5)()
    assert connection._writer is not None
    connection._writer.transport.abort()
    await asyncio.sleep(0.01)  # so that it is told
    ended: list[Line] = []
    line = Line(connection, deadline=5, settled=lambda: None, ended=ended.append)
    async with asyncio.timeout(60):
        await line.aclose()
    assert (ended, line.usable) == ([line], False)


async def test_a_store_that_is_down_fails_at_once_and_is_found_again(proxy: FaultyProxy) -> None:
    """While nobody listens each command fails; once somebody does, the next one succeeds."""  # R1
    pipeline = through(proxy)
    await proxy.cut()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            await pipeline.execute("SET", "a", "1")
    await proxy.heal()
    assert await pipeline.execute("SET", "a", "1") == b"OK"
    await pipeline.aclose()


async def test_a_fault_that_nobody_foresaw_leaves_nobody_waiting(
    raw_store: redis.Redis, store_server: EmbeddedStore
) -> None:
    """All who wait get 503 and the log the fault's type, not its text; afterwards the same pipeline works."""  # R2
    opened = connector(store_server.url, connect_timeout=DEADLINE)
    broken, quoted = True, f"{'canary'}-secret"

    async def connect() -> AbstractConnection:
        if broken:
            raise TypeError(quoted)
        return await opened()

    pipeline = Pipeline(connect, deadline=DEADLINE)
    with capture_logs() as logged:
        for _ in range(2):
            commands = [pipeline.execute("INCR", "n") for _ in range(3)]
            outcomes = await asyncio.wait_for(asyncio.gather(*commands, return_exceptions=True), 60)
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert [(entry["event"], entry["error"]) for entry in logged] == [("store.failed_unexpectedly", "TypeError")] * 2
    assert "canary-secret" not in str(logged)
    broken = False
    assert await pipeline.execute("INCR", "n") == 1
    await pipeline.aclose()


async def test_a_fault_within_a_batch_fails_what_is_on_its_way(
    raw_store: redis.Redis, store_server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what of it ran; the connection is given up, and the next command has a new one."""  # R2
    pipeline = Pipeline(connector(store_server.url, connect_timeout=DEADLINE), deadline=DEADLINE)
    await pipeline.execute("PING")

    def breaks(*_: object) -> None:
        raise KeyError("nobody foresaw this")

    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(Sent, "succeed", breaks)
        commands = [pipeline.execute("INCR", name) for name in ("n", "m")]
        outcomes = await asyncio.wait_for(asyncio.gather(*commands, return_exceptions=True), 60)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert [(entry["event"], entry["error"]) for entry in logged] == [("store.failed_unexpectedly", "KeyError")]
    assert await pipeline.execute("INCR", "m") == 2
    await eventually(lambda: len([c for c in raw_store.client_list() if c["name"] == "broker"]) == 1)
    await pipeline.aclose()


async def test_no_acknowledged_write_is_lost_when_the_store_is_killed(tmp_path: Path) -> None:
    """kill -9 under load: whoever got an answer finds the write after the restart."""  # R7
    store = EmbeddedStore(tmp_path / "data")
    store.start()
    pipeline = Pipeline(connector(store.url, connect_timeout=DEADLINE), deadline=DEADLINE)
    acknowledged: list[str] = []
    failed: list[str] = []

    async def writer(name: str) -> None:
        for number in range(10_000):
            try:
                await pipeline.execute("SET", key := f"{name}:{number}", "1")
            except StoreUnavailable:
                failed.append(key)
                return
            acknowledged.append(key)

    writers = [asyncio.create_task(writer(f"w{n}")) for n in range(20)]
    await eventually(lambda: len(acknowledged) > 1000)
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    await asyncio.gather(*writers)
    assert len(failed) == 20
    store.start()
    assert all(await asyncio.gather(*(pipeline.execute("EXISTS", key) for key in acknowledged)))
    await pipeline.aclose()
    store.stop()


async def test_nobody_waits_longer_than_the_deadline_for_their_turn(proxy: FaultyProxy, loop_time: LoopTime) -> None:
    """With the store silent, who came behind others hears it as soon as they did, not after another try."""  # R2
    pipeline = through(proxy)
    await pipeline.execute("PING")
    proxy.stall_answers()
    turns: list[list[asyncio.Task[object]]] = []
    for _ in range(4):
        turns.append([asyncio.create_task(pipeline.execute("SET", "a", "1")) for _ in range(5)])
        await asyncio.sleep(0)  # they are put down
        await eventually(lambda: b"SET\r\n$1\r\na\r\n" in proxy.asked)
        loop_time.advance(seconds=DEADLINE / 4)
    for turn in turns:  # a quarter of the deadline apart
        await eventually(lambda told=turn: all(task.done() for task in told))  # type: ignore[misc]
        assert all(isinstance(task.exception(), StoreUnavailable) for task in turn)
        loop_time.advance(seconds=DEADLINE / 4)
    proxy.release_answers()
    assert await pipeline.execute("SET", "a", "2") == b"OK"
    await pipeline.aclose()


async def test_an_answer_that_comes_too_late_is_nobodys(proxy: FaultyProxy, loop_time: LoopTime) -> None:
    """Whoever gave up is told so once, and the next command has its own answer."""  # R4
    pipeline = through(proxy)
    await pipeline.execute("SET", "late", "mine")
    proxy.stall_answers()
    first = asyncio.create_task(pipeline.execute("GET", "late"))
    await eventually(lambda: b"GET\r\n$4\r\nlate\r\n" in proxy.asked)
    loop_time.advance(seconds=DEADLINE * 2 / 3)
    second = asyncio.create_task(pipeline.execute("ECHO", "second"))
    await asyncio.sleep(0)
    loop_time.advance(seconds=DEADLINE / 3)
    with pytest.raises(StoreUnavailable):
        await first
    proxy.release_answers()
    outcomes = await asyncio.gather(second, pipeline.execute("ECHO", "third"), return_exceptions=True)
    assert all(
        isinstance(outcome, StoreUnavailable) or outcome == word
        for outcome, word in zip(outcomes, (b"second", b"third"), strict=True)
    )
    assert await pipeline.execute("ECHO", "fourth") == b"fourth"
    await pipeline.aclose()
