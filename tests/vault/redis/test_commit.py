"""Commits that replicas confirm: on the writer's own connection, in nobody's way, and never confirmed by mistake."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.vault import scripts
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.connecting import connector
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.store import Commit
from broker.vault.redis.stream import Waiting
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.servers import Group, in_step, replicated
from tests.waiting import eventually

MINUTE = 60_000
WHILE = 4_000
"""Milliseconds that replicas have for a commit: fifty commands take longer on no machine."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Group]:
    """A primary and a replica."""
    with replicated() as group:
        yield group


@pytest.fixture
def group(servers: Group) -> Iterator[Group]:
    """The same, empty and in step."""
    servers.flush()
    yield servers
    servers.replicas[0].go_on()
    in_step(servers.replicas[0])


@pytest.fixture
async def pipeline(group: Group, keyring: Keyring) -> AsyncIterator[Pipeline]:
    """The primary as a store whose commits one replica confirms."""
    store = open_store(group.url, keyring, wait_replicas=1)
    assert isinstance(store, Pipeline)
    yield store
    await store.aclose()


async def count(pipeline: Pipeline, key: str) -> Commit:
    """Commit one more."""
    return await pipeline.commit(scripts.COUNT, [key], [1, MINUTE])


async def test_a_confirmed_commit_is_at_the_replica(group: Group, pipeline: Pipeline) -> None:
    """True means that the replica answers the written value at that moment."""
    commit = await count(pipeline, "a")
    assert commit.reply[0] == 1
    assert await commit.confirmed is True
    with group.replicas[0].client() as replica:
        assert replica.get("a") == b"1"


async def test_a_commit_without_replicas_is_confirmed_at_once(
    raw_store: redis.Redis, store_server: EmbeddedStore
) -> None:
    """Where none is asked for there is no WAIT, and no second connection."""
    pipeline = Pipeline(connector(store_server.url, connect_timeout=60))
    commit = await count(pipeline, "a")
    assert (commit.reply[0], await commit.confirmed) == (1, True)
    assert raw_store.info("commandstats").get("cmdstat_wait") is None
    assert len([client for client in raw_store.client_list() if client["name"] == "broker"]) == 1
    await pipeline.aclose()


async def test_a_stalled_replica_leaves_a_commit_unconfirmed_and_holds_nobody_up(
    group: Group, pipeline: Pipeline
) -> None:
    """The reply comes at once, False after a while; meanwhile other commands and other commits are answered."""  # R2
    pipeline._waiting = Waiting(1, WHILE)
    await count(pipeline, "a")
    group.replicas[0].stop()
    commits = [await count(pipeline, f"k{n}") for n in range(3)]
    waited = [asyncio.ensure_future(commit.confirmed) for commit in commits]
    for _ in range(50):
        assert await pipeline.execute("INCR", "n")
    assert not any(future.done() for future in waited)
    assert await asyncio.gather(*waited) == [False] * 3
    group.replicas[0].go_on()
    in_step(group.replicas[0])
    assert await (await count(pipeline, "a")).confirmed


async def test_commits_beyond_the_writers_share_them(group: Group, pipeline: Pipeline) -> None:
    """A hundred at once are a few connections, and each has its own reply and its confirmation."""
    commits = await asyncio.gather(*(count(pipeline, "a") for _ in range(100)))
    assert sorted(commit.reply[0] for commit in commits) == list(range(1, 101))
    assert all([await commit.confirmed for commit in commits])
    with group.primary.client() as client:
        assert len([entry for entry in client.client_list() if entry["name"] == "broker"]) <= 4
    assert len(pipeline._writers) <= 4


async def test_wait_travels_behind_the_script_on_its_connection(group: Group, keyring: Keyring) -> None:
    """One write carries script and WAIT; after NOSCRIPT the source and its own WAIT."""
    async with FaultyProxy(f"127.0.0.1:{group.primary.port}") as proxy:
        pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60), wait_replicas=1)
        assert await (await count(pipeline, "a")).confirmed
        with group.primary.client() as client:
            client.script_flush()
        start = len(proxy.asked)
        commit = await count(pipeline, "a")
        assert (commit.reply[0], await commit.confirmed) == (2, True)
        words = [word for word in bytes(proxy.asked[start:]).split(b"\r\n") if word in {b"EVALSHA", b"EVAL", b"WAIT"}]
        assert words == [b"EVALSHA", b"WAIT", b"EVAL", b"WAIT"]
        await pipeline.aclose()


async def test_a_connection_lost_before_wait_is_answered_confirms_nothing(group: Group) -> None:
    """The reply is there, the rest is doubt: False, no error, and the next commit has a new connection."""
    async with FaultyProxy(f"127.0.0.1:{group.primary.port}") as proxy:
        pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60), wait_replicas=1)
        await count(pipeline, "a")
        group.replicas[0].stop()
        commit = await count(pipeline, "a")
        assert commit.reply[0] == 2
        await proxy.cut()
        assert await commit.confirmed is False
        group.replicas[0].go_on()
        await proxy.heal()
        again = await count(pipeline, "a")
        assert again.reply[0] == 3
        await pipeline.aclose()


async def test_a_commit_whose_answer_got_lost_is_not_sent_again(group: Group) -> None:
    """503; it ran once."""  # R3
    async with FaultyProxy(f"127.0.0.1:{group.primary.port}") as proxy:
        pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60), wait_replicas=1)
        assert await (await count(pipeline, "b")).confirmed  # so that its WAIT is not the next answer
        proxy.drop_next_answer()
        with pytest.raises(StoreUnavailable):
            await count(pipeline, "a")
        with group.primary.client() as client:
            assert client.get("a") == b"1"
        await pipeline.aclose()


async def test_a_cancelled_commit_disturbs_no_neighbour(group: Group) -> None:
    """Its script runs, its answer is dropped; others who wait for the same WAIT get their own."""  # R4
    async with FaultyProxy(f"127.0.0.1:{group.primary.port}") as proxy:
        pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60), wait_replicas=1)
        warm = await asyncio.gather(*(count(pipeline, "warm") for _ in range(8)))
        assert all([await commit.confirmed for commit in warm])  # so that none of them holds the next ones up
        proxy.stall_answers()
        tasks = [asyncio.create_task(count(pipeline, f"k{n}")) for n in range(12)]
        with group.primary.client() as client:
            await eventually(lambda: client.exists(*(f"k{n}" for n in range(12))))
        for task in tasks[::3]:
            task.cancel()
        proxy.release_answers()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            if number % 3 == 0:
                assert isinstance(outcome, asyncio.CancelledError)
            else:
                assert isinstance(outcome, Commit)
                assert outcome.reply[0] == 1
                assert await outcome.confirmed
        await pipeline.aclose()


async def test_whoever_stops_waiting_for_a_confirmation_takes_it_from_nobody(group: Group, pipeline: Pipeline) -> None:
    """Two wait, one is cancelled, the other learns it."""
    group.replicas[0].stop()
    commit = await count(pipeline, "a")
    first, second = (asyncio.ensure_future(commit.confirmed) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    group.replicas[0].go_on()
    assert await second in {True, False}
    assert await commit.confirmed is await second
    assert first.cancelled()


async def test_closing_leaves_no_confirmation_open(group: Group, pipeline: Pipeline) -> None:
    """Shutting down in the middle of a WAIT settles it: False."""
    group.replicas[0].stop()
    commit = await count(pipeline, "a")
    await pipeline.aclose()
    assert await commit.confirmed is False


async def test_a_script_that_fails_in_a_batch_of_commits_fails_alone(group: Group, pipeline: Pipeline) -> None:
    """WRONGTYPE is its caller's 503; the others are confirmed."""  # R4
    await pipeline.execute("LPUSH", "list", "x")
    outcomes = await asyncio.gather(
        *(count(pipeline, key) for key in ("a", "list", "b", "c", "d", "e", "f")), return_exceptions=True
    )
    refused = outcomes.pop(1)
    assert isinstance(refused, StoreUnavailable)
    assert all([await commit.confirmed for commit in outcomes if isinstance(commit, Commit)])
    assert len([commit for commit in outcomes if isinstance(commit, Commit)]) == 6


async def test_missing_replicas_refuse_nothing(keyring: Keyring) -> None:
    """A store that has just failed over to its last server is used; its commits are not confirmed."""
    with replicated() as group:
        group.replicas[0].kill()
        store = open_store(group.url, keyring, wait_replicas=1)
        commit = await store.commit(scripts.COUNT, ["a"], [1, MINUTE])
        assert (commit.reply[0], await commit.confirmed) == (1, False)
        await store.aclose()
