"""Callers that give up: before their command is sent, after it, and thousands of them in a storm."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import redis

from broker.vault.redis.connecting import connector
from broker.vault.redis.pipeline import Pipeline
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually

KEYS = 400


@pytest.fixture
async def pipeline(proxy: FaultyProxy) -> AsyncIterator[Pipeline]:
    """A pipeline through the proxy, connected; a batch has a minute."""
    pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60))
    await pipeline.execute("PING")
    yield pipeline
    await pipeline.aclose()


def store_clients(raw_store: redis.Redis) -> list[str]:
    """The ids of the broker's connections as the store sees them."""
    return [client["id"] for client in raw_store.client_list() if client["name"] == "broker"]


async def test_cancelled_before_it_is_sent_is_not_carried_out(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """A command whose caller left while it waited is dropped; its neighbours are sent."""  # R4
    proxy.stall_answers()
    under_way = asyncio.create_task(pipeline.execute("GET", "under-way"))
    await eventually(lambda: b"under-way" in proxy.asked)
    waiting = [asyncio.create_task(pipeline.execute("INCR", f"n{n}")) for n in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    proxy.release_answers()
    outcomes = await asyncio.gather(under_way, *waiting, return_exceptions=True)
    assert [outcomes[0], outcomes[1], outcomes[3]] == [None, 1, 1]
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert raw_store.mget("n0", "n1", "n2") == [b"1", None, b"1"]
    assert b"n1" not in proxy.asked


async def test_cancelled_after_it_was_sent_its_answer_goes_to_nobody(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """A command that has left is carried out; its answer is thrown away, and the others get their own."""  # R4
    raw_store.mset({"a": "answer a", "c": "answer c"})
    before = store_clients(raw_store)
    proxy.stall_answers()
    tasks = [
        asyncio.create_task(pipeline.execute("GET", "a")),
        asyncio.create_task(pipeline.execute("INCRBY", "b", 41)),
        asyncio.create_task(pipeline.execute("GET", "c")),
    ]
    await eventually(lambda: raw_store.get("b") == b"41")
    tasks[1].cancel()
    later = asyncio.create_task(pipeline.execute("INCR", "b"))
    await asyncio.sleep(0)
    proxy.release_answers()
    outcomes = await asyncio.gather(*tasks, later, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert [outcomes[0], outcomes[2], outcomes[3]] == [b"answer a", b"answer c", 42]
    assert store_clients(raw_store) == before


async def test_a_batch_of_which_everybody_gave_up_leaves_no_answer_behind(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """When all callers of a batch have left, the next batch does not read its answers."""  # R4
    raw_store.mset({"bygone": "old answer", "new": "new answer"})
    proxy.stall_answers()
    left = [asyncio.create_task(pipeline.execute("GET", "bygone")) for _ in range(50)]
    await eventually(lambda: proxy.asked.count(b"bygone") == 50)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    next_one = asyncio.create_task(pipeline.execute("GET", "new"))
    await asyncio.sleep(0)
    proxy.release_answers()
    assert await next_one == b"new answer"


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_storm_of_cancellations_crosses_no_answers(
    pipeline: Pipeline, proxy: FaultyProxy, raw_store: redis.Redis, seed: int
) -> None:
    """4000 reads, a third given up at random moments, over one connection: no answer is crossed."""  # R4
    raw_store.mset({f"k{n}": f"value of {n}" for n in range(KEYS)})
    chance, clients = random.Random(seed), store_clients(raw_store)
    proxy.jitter = chance
    read = 0

    async def reader() -> None:
        nonlocal read
        for _ in range(50):
            number = chance.randrange(KEYS)
            task = asyncio.create_task(pipeline.execute("GET", f"k{number}"))
            if chance.random() < 1 / 3:
                await asyncio.sleep(chance.random() * 0.004)
                task.cancel()
            answer = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(answer, asyncio.CancelledError):
                assert answer == f"value of {number}".encode()
                read += 1

    await asyncio.gather(*(reader() for _ in range(80)))
    assert read > 2000
    assert store_clients(raw_store) == clients
    assert len(clients) == 1
    assert proxy.accepted == 1
