"""A Cluster as one store: each command at its node, redirections followed, a lost node alone in its loss."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from broker.errors import StoreUnavailable
from broker.settings.store_address import Node
from broker.vault import scripts
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store, reasons_not_ready
from broker.vault.redis.cluster import ClusterStore, slot_of
from broker.vault.redis.connecting import Ask, connector
from broker.vault.redis.pipeline import Pipeline
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.server_process import TestServer
from tests.vault.servers import Group, spare_cluster_node, three_node_cluster, whole
from tests.waiting import eventually

MINUTE = 60_000
KEYS = [f"key-{number}" for number in range(60)]


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


@pytest.fixture
async def store(group: Group, keyring: Keyring) -> AsyncIterator[ClusterStore]:
    """The Cluster as the broker opens it."""
    store = open_store(group.url, keyring, wait_replicas=0)
    assert isinstance(store, ClusterStore)
    yield store
    await store.aclose()


def counted(node: TestServer, error: str) -> int:
    """How often ``node`` has answered with this error."""
    with node.client() as client:
        found = cast("dict[str, dict[str, int]]", client.info("errorstats")).get(f"errorstat_{error}")
    return found["count"] if found else 0


def size(node: TestServer) -> int:
    """How many keys ``node`` holds."""
    with node.client() as client:
        return cast("int", client.dbsize())


def cluster(node: TestServer, *words: object) -> Any:
    """A CLUSTER command at one node."""
    with node.client() as client:
        return cast("Any", client).execute_command("CLUSTER", *words)


def keys_of(group: Group, node: TestServer, *, of: bool = True) -> list[str]:
    """Those of ``KEYS`` that ``node`` serves; with ``of=False`` the others."""
    return [key for key in KEYS if (group.node_of(key) is node) is of]


async def test_every_command_goes_to_the_node_of_its_key(group: Group, store: ClusterStore) -> None:
    """Commands and scripts on many keys at once: each answer is its own, and no node had to redirect."""
    await asyncio.gather(*(store.execute("SET", key, f"value of {key}") for key in KEYS))
    assert await asyncio.gather(*(store.execute("GET", key) for key in KEYS)) == [
        f"value of {key}".encode() for key in KEYS
    ]
    counts = await asyncio.gather(*(store.run(scripts.COUNT, [f"{{{key}}}:n"], [1, MINUTE]) for key in KEYS))
    assert [count for count, _ in counts] == [1] * len(KEYS)
    assert min(map(size, group.nodes)) > 10
    assert [counted(node, "MOVED") for node in group.nodes] == [0, 0, 0]


async def test_commands_without_keys_go_to_any_node(store: ClusterStore) -> None:
    """PING, TIME."""
    assert await store.execute("PING") == b"PONG"
    assert len(await store.execute("TIME")) == 2


async def test_a_scan_sees_every_node(store: ClusterStore) -> None:
    """All keys, whichever node they are at."""
    await asyncio.gather(*(store.execute("SET", key, "1") for key in KEYS))
    assert {key async for page in store.scan("key-*") for key in page} == set(KEYS)


async def test_keys_of_several_slots_are_refused(group: Group, store: ClusterStore) -> None:
    """Two nodes can't carry out one command together; nothing is written."""
    with pytest.raises(StoreUnavailable, match="CROSSSLOT"):
        await store.execute("MSET", "a", "1", "b", "2")
    assert [await store.execute("EXISTS", key) for key in ("a", "b")] == [0, 0]


async def test_a_forgotten_script_is_told_again(group: Group, store: ClusterStore) -> None:
    """After SCRIPT FLUSH at every node each script runs once."""
    await asyncio.gather(*(store.run(scripts.COUNT, [key], [1, MINUTE]) for key in KEYS))
    for node in group.nodes:
        with node.client() as client:
            client.script_flush()
    counts = await asyncio.gather(*(store.run(scripts.COUNT, [key], [1, MINUTE]) for key in KEYS))
    assert [count for count, _ in counts] == [2] * len(KEYS)


async def test_a_slot_moves_under_load(group: Group, store: ClusterStore, keyring: Keyring) -> None:
    """ASK and MOVED are followed: no increment is lost, none is made twice, and hardly any is refused."""  # R5
    keys = [f"{{moving}}:{number}" for number in range(40)]
    source = group.node_of(keys[0])
    acknowledged = dict.fromkeys(keys, 0)
    over = asyncio.Event()
    refused: list[StoreUnavailable] = []
    await asyncio.gather(*(store.execute("INCRBY", key, 0) for key in keys))
    asked, moved = counted(source, "ASK"), counted(source, "MOVED")

    async def writer(key: str) -> None:
        while not over.is_set():
            try:
                if random.random() < 0.5:
                    await store.execute("INCR", key)
                else:
                    await store.run(scripts.COUNT, [key], [1, MINUTE])
            except StoreUnavailable as error:
                refused.append(error)
                await asyncio.sleep(0.005)
            else:
                acknowledged[key] += 1

    async def further(increments: int) -> None:
        before = sum(acknowledged.values())
        await eventually(lambda: sum(acknowledged.values()) > before + increments)

    with spare_cluster_node(group) as target:
        writers = [asyncio.create_task(writer(key)) for key in keys]
        await eventually(lambda: min(acknowledged.values()) > 20)
        await asyncio.to_thread(start_moving, slot_of(keys[0]), source, target)
        for key in keys:
            await asyncio.to_thread(move_key, key, source, target)
            await further(20)
        await asyncio.to_thread(end_moving, slot_of(keys[0]), source, target, group.nodes)
        reached = dict(acknowledged)
        await eventually(lambda: all(acknowledged[key] > reached[key] + 20 for key in keys))
        over.set()
        await asyncio.gather(*writers)
        counts = [int(value) for value in await asyncio.gather(*(store.execute("GET", key) for key in keys))]
        assert counts == list(acknowledged.values())
        assert refused == []
        assert counted(source, "ASK") > asked
        assert counted(source, "MOVED") > moved
        assert size(target) == len(keys)
        await asyncio.to_thread(give_back, keys, source, target, group.nodes)
        assert [int(await store.execute("GET", key)) for key in keys] == counts
        await eventually(lambda: Node("127.0.0.1", target.port) not in store.topology.primaries)


async def test_a_script_on_a_slot_on_its_way_is_refused_whole(group: Group, store: ClusterStore) -> None:
    """TRYAGAIN: of two keys one has moved; 503, nothing written; once the slot has arrived, it runs."""  # R5
    keys = ["{parted}:a", "{parted}:b"]
    source = group.node_of(keys[0])
    target = next(node for node in group.nodes if node is not source)
    await store.execute("MSET", keys[0], "1", keys[1], "1")
    start_moving(slot_of(keys[0]), source, target)
    move_key(keys[0], source, target)
    with pytest.raises(StoreUnavailable, match="TRYAGAIN"):
        await store.execute("MSET", keys[0], "2", keys[1], "2")
    with pytest.raises(StoreUnavailable, match="rearranged"):  # a scan could miss what is between two nodes
        await anext(store.scan("*"))
    move_key(keys[1], source, target)
    end_moving(slot_of(keys[0]), source, target, group.nodes)
    assert await store.execute("MGET", *keys) == [b"1", b"1"]
    assert await store.execute("MSET", keys[0], "2", keys[1], "2") == b"OK"
    give_back(keys, source, target, group.nodes)


async def test_a_lost_node_takes_only_its_own_keys(group: Group, keyring: Keyring) -> None:
    """503 for them, and readiness names the node; others go on; once it is back, all is there."""  # R1, R2, R5
    store = open_store(group.url, keyring, wait_replicas=0)
    assert isinstance(store, ClusterStore)
    await asyncio.gather(*(store.execute("SET", key, "kept") for key in KEYS))
    lost = group.node_of(KEYS[0])
    theirs, others = keys_of(group, lost), keys_of(group, lost, of=False)
    lost.kill()
    for _ in range(3):
        outcomes = await asyncio.gather(*(store.execute("GET", key) for key in theirs), return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) and outcome.retry_after for outcome in outcomes)
        assert await asyncio.gather(*(store.execute("GET", key) for key in others)) == [b"kept"] * len(others)
    assert await store.execute("PING") == b"PONG"
    assert f"127.0.0.1:{lost.port}: the node can't be reached" in await reasons_not_ready(store, wait_replicas=0)
    lost.start()
    await asyncio.to_thread(whole, group.nodes)
    assert await reasons_not_ready(store, wait_replicas=0) == []
    assert await asyncio.gather(*(store.execute("GET", key) for key in KEYS)) == [b"kept"] * len(KEYS)
    await store.aclose()


async def test_a_broken_cluster_is_not_hammered(group: Group, keyring: Keyring) -> None:
    """A thousand commands for a lost node are a few questions for the map, not a thousand."""
    store = open_store(group.url, keyring, wait_replicas=0)
    assert isinstance(store, ClusterStore)
    await asyncio.gather(*(store.execute("SET", key, "kept") for key in KEYS))
    lost = group.node_of(KEYS[0])
    for node in group.nodes:
        with node.client() as client:
            client.config_resetstat()
    try:
        lost.kill()
        began = time.monotonic()
        for _ in range(20):
            outcomes = await asyncio.gather(*(store.execute("GET", KEYS[0]) for _ in range(50)), return_exceptions=True)
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        await eventually(lambda: questions(group, lost))
        asked = questions(group, lost)
        rounds = (time.monotonic() - began) / 0.5 + 1
        assert asked <= 2 * rounds
    finally:
        await store.aclose()
        lost.start()
        await asyncio.to_thread(whole, group.nodes)


def questions(group: Group, lost: TestServer) -> int:
    """How often the nodes that are there have been asked for the map."""
    asked = 0
    for node in group.nodes:
        if node is not lost:
            with node.client() as client:
                stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
            asked += stats.get("cmdstat_cluster|slots", {}).get("calls", 0)
    return asked


async def test_a_storm_of_cancellations_crosses_no_answers(group: Group) -> None:
    """3000 reads over delaying proxies before every node, a third given up: no answer is crossed."""  # R4
    chance = random.Random(7)
    async with AsyncExitStack() as stack:
        proxies = {
            node.port: await stack.enter_async_context(FaultyProxy(f"127.0.0.1:{node.port}")) for node in group.nodes
        }
        store = through(group, proxies)
        await asyncio.gather(*(store.execute("SET", key, f"value of {key}") for key in KEYS))
        for proxy in proxies.values():
            proxy.jitter = chance
        read = 0

        async def reader() -> None:
            nonlocal read
            for _ in range(50):
                key = chance.choice(KEYS)
                task = asyncio.create_task(store.execute("GET", key))
                if chance.random() < 1 / 3:
                    await asyncio.sleep(chance.random() * 0.004)
                    task.cancel()
                answer = (await asyncio.gather(task, return_exceptions=True))[0]
                if not isinstance(answer, asyncio.CancelledError):
                    assert answer == f"value of {key}".encode()
                    read += 1

        await asyncio.gather(*(reader() for _ in range(60)))
        assert read > 1500
        assert [proxy.accepted for proxy in proxies.values()] == [1, 1, 1]
        await store.aclose()


async def test_an_answer_that_got_lost_is_not_asked_for_again(group: Group) -> None:
    """A write to a node whose answer doesn't arrive is a 503 and ran once."""  # R3
    async with AsyncExitStack() as stack:
        proxies = {
            node.port: await stack.enter_async_context(FaultyProxy(f"127.0.0.1:{node.port}")) for node in group.nodes
        }
        store = through(group, proxies)
        await store.execute("SET", "a", "0")
        proxies[group.node_of("a").port].drop_next_answer()
        with pytest.raises(StoreUnavailable):
            await store.execute("INCR", "a")
        assert await store.execute("GET", "a") == b"1"
        await store.aclose()


async def test_a_replica_takes_over_and_no_confirmed_commit_is_lost(keyring: Keyring) -> None:
    """kill -9 of a primary under load: its keys are 503 until its replica took over, others go on."""  # R5, R7
    with three_node_cluster(replicas=1) as group:
        store = open_store(group.url, keyring, wait_replicas=1)
        lost = group.node_of("{lost}:0")
        other = next(f"{{{key}}}" for key in KEYS if group.node_of(f"{{{key}}}") is not lost)
        confirmed: list[str] = []
        refused: list[StoreUnavailable] = []
        resumed = others = 0
        killed, over = asyncio.Event(), asyncio.Event()

        async def writer(name: str) -> None:
            nonlocal resumed, others
            number = 0
            while not over.is_set():
                number += 1
                try:
                    commit = await store.commit(scripts.COUNT, [key := f"{name}:{number}"], [1, MINUTE])
                except StoreUnavailable as error:
                    assert "lost" in name
                    refused.append(error)
                    await asyncio.sleep(0.02)
                    continue
                if "lost" not in name:
                    others += killed.is_set()
                    await asyncio.sleep(0.01)
                elif killed.is_set():
                    resumed += bool(refused)
                elif await commit.confirmed:
                    confirmed.append(key)

        names = [*(f"{{lost}}:{n}" for n in range(8)), *(f"{other}:{n}" for n in range(2))]
        writers = [asyncio.create_task(writer(name)) for name in names]
        await eventually(lambda: len(confirmed) > 300)
        killed.set()
        lost.kill()
        await eventually(lambda: resumed > 50)
        over.set()
        await asyncio.gather(*writers)
        assert refused
        assert others > 50
        counts = await asyncio.gather(*(store.execute("GET", key) for key in confirmed))
        assert counts == [b"1"] * len(confirmed)
        assert Node("127.0.0.1", lost.port) not in cast("ClusterStore", store).topology.primaries
        await store.aclose()


async def test_a_cluster_that_cant_be_reached_is_told(group: Group, keyring: Keyring) -> None:
    """Nobody listens at the addresses: 503 at once, with time to wait."""  # R1
    store = open_store("redis+cluster://127.0.0.1:1", keyring, wait_replicas=0)
    with pytest.raises(StoreUnavailable, match="no node of the Cluster can be reached") as refused:
        await store.execute("GET", "a")
    assert refused.value.retry_after == 3
    await store.aclose()


async def test_seeds_that_are_gone_dont_matter_as_long_as_one_answers(group: Group, keyring: Keyring) -> None:
    """The others are learnt from it."""
    store = open_store(
        f"redis+cluster://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:{group.nodes[2].port}", keyring, wait_replicas=0
    )
    assert await asyncio.gather(*(store.execute("SET", key, "1") for key in KEYS)) == [b"OK"] * len(KEYS)
    await store.aclose()


def through(group: Group, proxies: dict[int, FaultyProxy]) -> ClusterStore:
    """A store that reaches each node through its proxy."""

    def asker_of(_node: Node) -> Ask:
        async def ask(*_commands: object) -> list[Any]:
            slots = cast("list[Any]", cluster(group.nodes[0], "SLOTS"))
            for entry in slots:
                host, _, port = proxies[entry[2][1]].address.partition(":")
                entry[2][:2] = [host.encode(), int(port)]
            return [slots]

        return ask

    def open_node(node: Node) -> Pipeline:
        return Pipeline(connector(f"redis://{node}", connect_timeout=60), deadline=60)

    return ClusterStore([Node("seed", 1)], asker_of=asker_of, open_node=open_node, retired_after=1)


def start_moving(slot: int, source: TestServer, target: TestServer) -> None:
    """From now on the source answers ASK for keys of the slot that it no longer has."""
    cluster(target, "SETSLOT", slot, "IMPORTING", cluster(source, "MYID"))
    cluster(source, "SETSLOT", slot, "MIGRATING", cluster(target, "MYID"))


def move_key(key: str, source: TestServer, target: TestServer) -> None:
    """Move one key of the slot."""
    with source.client() as client:
        cast("Any", client).migrate("127.0.0.1", target.port, [key], 0, 5000)


def end_moving(slot: int, source: TestServer, target: TestServer, nodes: list[TestServer]) -> None:
    """The slot is the target's now; the source answers MOVED."""
    owner = cluster(target, "MYID")
    for node in (target, source, *(node for node in nodes if node not in {source, target})):
        cluster(node, "SETSLOT", slot, "NODE", owner)


def give_back(keys: list[str], source: TestServer, target: TestServer, nodes: list[TestServer]) -> None:
    """Move the slot of these keys back to where it was."""
    start_moving(slot_of(keys[0]), target, source)
    for key in keys:
        move_key(key, target, source)
    end_moving(slot_of(keys[0]), target, source, nodes)
