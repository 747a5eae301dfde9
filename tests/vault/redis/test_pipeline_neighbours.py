"""Neighbours in one batch: whatever befalls one of them, or the store in the middle, each fails or succeeds alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import scripts
from broker.vault.redis.connecting import connector
from broker.vault.redis.pipeline import Pipeline
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.server_process import TestServer, servers
from tests.waiting import LoopTime, eventually

_HOUR = 3_600_000
_DEADLINE = 600.0
"""Seconds: no test gets there but by :class:`LoopTime`."""
_MOMENTS = range(12)
"""Rounds of the event loop after which somebody leaves: from before anything left to after the answer is there."""


@pytest.fixture
async def pipeline(proxy: FaultyProxy) -> AsyncIterator[Pipeline]:
    """A pipeline through the proxy, connected."""
    pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=_DEADLINE), deadline=_DEADLINE)
    await pipeline.execute("PING")
    yield pipeline
    await pipeline.aclose()


@pytest.fixture
def server() -> Iterator[TestServer]:
    """A server of the test's own, to be killed."""
    with servers() as start:
        yield start()


async def count(pipeline: Pipeline, name: str, amount: int) -> int:
    """Run a script that adds ``amount``; answers the sum."""
    reply: list[int] = await pipeline.run(scripts.COUNT, [name], [amount, _HOUR])
    return reply[0]


async def a_few_rounds() -> None:
    """Of the event loop, in which everybody here does what can be done at once."""
    for _ in range(20):
        await asyncio.sleep(0)


async def under_way(proxy: FaultyProxy, pipeline: Pipeline) -> asyncio.Task[object]:
    """A command that has left and whose answer is kept back: what is put down now gathers into one batch."""
    proxy.stall_answers()
    first = asyncio.create_task(pipeline.execute("ECHO", "under-way"))
    await eventually(lambda: b"under-way" in proxy.asked)
    return first


@pytest.mark.parametrize("known", [True, False], ids=["known script", "forgotten script"])
async def test_who_leaves_at_any_moment_touches_nobody(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis, known: bool
) -> None:
    """Cancelled before, between and after all steps of a script's way: the neighbours get their own sums, the one who
    left had one effect or none, and the connection is the same."""  # R4
    await count(pipeline, "warm", 1)
    for moment in _MOMENTS:
        if not known:
            raw_store.script_flush()
        tasks = [asyncio.create_task(count(pipeline, f"{moment}-{n}", 100 + n)) for n in range(9)]
        for _ in range(moment):
            await asyncio.sleep(0)
        tasks[4].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[:4] + outcomes[5:] == [100 + n for n in range(9) if n != 4]
        assert outcomes[4] == 104 or isinstance(outcomes[4], asyncio.CancelledError)
        assert await count(pipeline, f"{moment}-after", 7) == 7
        assert raw_store.get(f"{moment}-4") in {None, b"104"}
    assert proxy.accepted == 1


async def test_a_script_on_a_record_of_a_wrong_type_fails_alone(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """Of 64 scripts in one batch two meet a list where a counter should be: 503 for those two, by name, and for nobody
    else."""  # R4
    await count(pipeline, "warm", 1)
    raw_store.rpush("n0", "x")
    raw_store.rpush("n33", "x")
    first = await under_way(proxy, pipeline)
    tasks = [asyncio.create_task(count(pipeline, f"n{n}", 1000 + n)) for n in range(64)]
    await asyncio.sleep(0)
    proxy.release_answers()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert await first == b"under-way"
    for number, outcome in enumerate(outcomes):
        if number in {0, 33}:
            assert isinstance(outcome, StoreUnavailable)
            assert "did not answer" not in outcome.detail  # it did
        else:
            assert outcome == 1000 + number
    assert proxy.accepted == 1


async def test_what_cant_be_packed_fails_alone_while_a_batch_gathers(pipeline: Pipeline, proxy: FaultyProxy) -> None:
    """Its caller gets the mistake at once, without waiting for the store; those before and behind it are sent."""  # R4
    first = await under_way(proxy, pipeline)
    before = asyncio.create_task(count(pipeline, "before", 1))
    await asyncio.sleep(0)
    with pytest.raises(TypeError):
        await pipeline.run(scripts.COUNT, ["wrong"], [object(), _HOUR])  # type: ignore[list-item]
    behind = asyncio.create_task(count(pipeline, "behind", 2))
    proxy.release_answers()
    assert await first == b"under-way"
    assert (await before, await behind) == (1, 2)
    assert b"wrong" not in proxy.asked
    assert proxy.accepted == 1


@pytest.mark.parametrize("arrives", [0, 1, 4 * 5, 4 * 5 + 3], ids=["nothing", "a byte", "five", "five and a half"])
async def test_a_store_that_answers_a_part_and_stalls_serves_that_part(
    pipeline: Pipeline, proxy: FaultyProxy, loop_time: LoopTime, arrives: int
) -> None:
    """Whose answer is there has it before the deadline; the others hear by the deadline that there is none. What comes
    later is nobody's."""  # R2, R4
    proxy.stall_after_answer_bytes(arrives)  # an answer to INCR is four bytes: ":1\r\n"
    tasks = [asyncio.create_task(pipeline.execute("INCR", f"n{n}")) for n in range(10)]
    answered = arrives // 4
    await eventually(lambda: proxy.stalls)
    assert await asyncio.gather(*tasks[:answered]) == [1] * answered
    assert not any(task.done() for task in tasks[answered:])
    loop_time.advance(seconds=_DEADLINE)
    for task in tasks[answered:]:
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await task
    later = asyncio.create_task(pipeline.execute("MGET", *(f"n{n}" for n in range(10))))
    proxy.release_answers()
    assert await later == [b"1"] * 10
    assert await pipeline.execute("INCR", "n0") == 2


async def test_who_waits_behind_a_cut_batch_is_served_on_a_new_connection(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """Of those that were sent two have their answers, and the others fail; what was put down behind them and had not
    left is sent now. Each ran once."""  # R3, R4
    proxy.stall_answers()
    proxy.end_after_answer_bytes(8)  # an answer to INCR is four bytes: ":1\r\n"
    tasks = {}
    for turn in range(6):
        for number in range(5):
            name = f"turn-{turn}-{number}"
            tasks[name] = asyncio.create_task(pipeline.execute("INCR", name))
        await a_few_rounds()  # as many batches as the pipeline has on their way at once leave; the others gather
    line: Any = pipeline._stream._line
    await eventually(lambda: sum(name.encode() in proxy.asked for name in tasks) == line.load)
    sent = [name for name in tasks if name.encode() in proxy.asked]
    behind = [name for name in tasks if name not in sent]
    assert sent
    assert behind
    proxy.release_answers()
    outcomes = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
    assert [outcomes[name] for name in [*sent[:2], *behind]] == [1] * (2 + len(behind))
    assert all(isinstance(outcomes[name], StoreUnavailable) for name in sent[2:])
    assert raw_store.mget(*tasks) == [b"1"] * len(tasks)
    assert proxy.accepted == 2


async def test_an_answer_that_is_no_answer_ends_its_batch_and_no_more(pipeline: Pipeline, proxy: FaultyProxy) -> None:
    """Bytes that are no RESP: nobody knows whose answers follow, so the batch fails; the next one has a new
    connection."""  # R4
    first = await under_way(proxy, pipeline)
    proxy.say(b"\x00 no RESP\r\n")
    with pytest.raises(StoreUnavailable):
        await first
    proxy.release_answers()
    assert await asyncio.gather(*(count(pipeline, f"n{n}", n + 1) for n in range(20))) == list(range(1, 21))
    assert proxy.accepted == 2


async def test_an_answer_that_nobody_asked_for_goes_to_nobody(pipeline: Pipeline, proxy: FaultyProxy) -> None:
    """What the store says between two batches is not taken for the answer to the next command."""  # R4
    proxy.say(b"$6\r\nforged\r\n")
    await a_few_rounds()  # in which it arrives
    assert await pipeline.execute("ECHO", "mine") == b"mine"
    assert await pipeline.execute("ECHO", "mine too") == b"mine too"


async def test_a_large_answer_and_small_ones_keep_apart(pipeline: Pipeline, raw_store: redis.Redis) -> None:
    """Two megabytes between short answers, nested ones and none."""  # R4
    raw_store.set("large", b"L" * 2_000_000)
    raw_store.rpush("list", *range(1000))
    for _ in range(3):
        outcomes = await asyncio.gather(
            pipeline.execute("GET", "nothing"),
            pipeline.execute("GET", "large"),
            pipeline.execute("LRANGE", "list", 0, -1),
            count(pipeline, "n", 1),
            pipeline.execute("ECHO", ""),
        )
        assert (outcomes[0], outcomes[1], outcomes[4]) == (None, b"L" * 2_000_000, b"")
        assert outcomes[2] == [str(n).encode() for n in range(1000)]


async def test_a_store_that_dies_in_a_batch_fails_all_who_have_no_answer(server: TestServer) -> None:
    """kill -9 while a batch is with it and another one waits: all of them hear 503, nothing ran, nothing is sent again;
    when the store is back, so is the pipeline."""  # R4
    pipeline = Pipeline(connector(server.url, connect_timeout=_DEADLINE), deadline=_DEADLINE)
    await pipeline.execute("PING")
    server.stop()
    sent = [asyncio.create_task(pipeline.execute("INCR", f"n{n}")) for n in range(100)]
    await a_few_rounds()  # in which the batch leaves
    behind = [asyncio.create_task(pipeline.execute("INCR", f"n{n}")) for n in range(50)]
    await asyncio.sleep(0)
    server.kill()
    outcomes = await asyncio.wait_for(asyncio.gather(*sent, *behind, return_exceptions=True), 60)
    assert all(isinstance(outcome, StoreUnavailable) and outcome.retry_after for outcome in outcomes)
    await asyncio.to_thread(server.start)
    assert await asyncio.gather(*(pipeline.execute("INCR", f"n{n}") for n in range(100))) == [1] * 100
    await pipeline.aclose()


async def test_a_store_that_dies_while_it_answers_keeps_what_it_answered(server: TestServer) -> None:
    """kill -9 when the first answers of a long batch are there: who has one finds the write after the restart, and
    has the answer to its own command."""  # R4, R7
    pipeline = Pipeline(connector(server.url, connect_timeout=_DEADLINE), deadline=_DEADLINE)
    await pipeline.execute("PING")
    tasks = [asyncio.create_task(count(pipeline, f"n{n}", 1000 + n)) for n in range(8000)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    server.kill()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    answered = {n: outcome for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)}
    assert answered == {n: 1000 + n for n in answered}
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert failed
    assert all(isinstance(outcome, StoreUnavailable) for outcome in failed)
    await asyncio.to_thread(server.start)
    kept = await asyncio.gather(*(pipeline.execute("GET", f"n{n}") for n in answered))
    assert kept == [str(1000 + n).encode() for n in answered]
    await pipeline.aclose()


async def test_a_full_line_refuses_the_newcomer_and_is_taken_up_again(proxy: FaultyProxy) -> None:
    """With as many on their way and behind them as may be, one more is refused at once; those ahead of it get their own
    answers, and afterwards there is room."""  # R4
    pipeline = Pipeline(
        connector(f"redis://{proxy.address}", connect_timeout=_DEADLINE), deadline=_DEADLINE, max_waiting=20
    )
    await pipeline.execute("PING")
    proxy.stall_answers()
    tasks = []
    for turn in range(5):
        tasks += [asyncio.create_task(count(pipeline, f"{turn}-{n}", 100 * turn + n + 1)) for n in range(30)]
        await a_few_rounds()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="too many"):
            await asyncio.wait_for(pipeline.execute("SET", "newcomer", 1), _DEADLINE / 2)
    refused = [n for n, task in enumerate(tasks) if task.done()]
    assert refused[:10] == list(range(20, 30))  # of those that came together the last ones
    proxy.release_answers()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome, StoreUnavailable) if n in refused else outcome == 100 * (n // 30) + n % 30 + 1
    assert b"newcomer" not in proxy.asked
    assert await asyncio.gather(*(count(pipeline, f"m{n}", 200 + n) for n in range(20))) == [200 + n for n in range(20)]
    await pipeline.aclose()


async def test_a_store_that_reads_no_more_is_given_up_by_the_deadline(server: TestServer, loop_time: LoopTime) -> None:
    """More is sent than the kernel takes, to a store that stands still: who was sent and who comes behind hear 503 by
    the deadline; when it goes on, so does the pipeline."""  # R2, R4
    pipeline = Pipeline(connector(server.url, connect_timeout=_DEADLINE), deadline=_DEADLINE)
    await pipeline.execute("PING")
    server.stop()
    for _ in range(2):
        tasks = [asyncio.create_task(pipeline.execute("SET", f"n{n}", b"x" * 100_000)) for n in range(200)]
        await a_few_rounds()
        loop_time.advance(seconds=_DEADLINE)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    server.go_on()
    assert await pipeline.execute("ECHO", "back") == b"back"
    await pipeline.aclose()
