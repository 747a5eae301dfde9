"""A store led by sentinels: the primary is found, and found again after every way of losing it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broker.errors import StoreUnavailable
from broker.settings.store_address import Node, parse_store_address
from broker.vault import scripts
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store, reasons_not_ready
from broker.vault.redis.sentinel import Sentinels, SentinelStore
from broker.vault.redis.store import Store
from tests.processes import free_port
from tests.vault.server_process import SERVICE
from tests.vault.servers import Group, in_step, replicated, sentinel_group
from tests.waiting import LoopTime, eventually, until

MINUTE = 60_000


@pytest.fixture(scope="module")
def servers() -> Iterator[Group]:
    """A primary, a replica, and a sentinel."""
    with sentinel_group(sentinels=1) as group:
        yield group


@pytest.fixture
def group(servers: Group) -> Iterator[Group]:
    """The same, empty; afterwards all of it runs again and is in step."""
    servers.flush()
    yield servers
    for node in servers.nodes:
        if node.process.poll() is None:
            node.go_on()
        else:
            node.start()
    sentinel = servers.sentinels[0].client()
    until(lambda: sorted(node.info()["role"] for node in servers.nodes) == ["master", "slave"])
    primary = servers.primary
    in_step(next(node for node in servers.nodes if node is not primary))
    # Only a replica that the sentinel takes for sound is made the next primary.
    until(lambda: _sound(sentinel.sentinel_slaves(SERVICE)))
    sentinel.close()


def _sound(replicas: Any) -> bool:
    (facts,) = replicas
    return not facts["is_sdown"] and not facts["is_disconnected"] and facts["master-link-status"] == "ok"


@pytest.fixture
async def store(group: Group, keyring: Keyring) -> AsyncIterator[Store]:
    """The store as the broker opens it."""
    store = open_store(group.url, keyring, wait_replicas=1)
    yield store
    await store.aclose()


async def works_again(store: Store) -> None:
    """Return when a write is carried out."""
    while True:
        try:
            await store.execute("SET", "again", "1")
        except StoreUnavailable:
            await asyncio.sleep(0.02)
        else:
            return


async def test_the_primary_is_found_through_the_sentinel(group: Group, store: Store) -> None:
    """What is written lands at the primary, and the replica confirms it."""
    await store.execute("SET", "a", "1")
    commit = await store.commit(scripts.COUNT, ["n"], [1, MINUTE])
    assert await commit.confirmed
    with group.primary.client() as primary:
        assert primary.get("a") == b"1"
    assert await reasons_not_ready(store, wait_replicas=1) == []


async def test_no_confirmed_commit_is_lost_when_the_primary_is_killed(group: Group, store: Store) -> None:
    """kill -9 under load: 503 meanwhile, then all goes on by itself, and what was confirmed is all there."""  # R5, R7
    confirmed: list[str] = []
    refused: list[StoreUnavailable] = []
    resumed = 0
    killed, over = asyncio.Event(), asyncio.Event()

    async def writer(name: str) -> None:
        nonlocal resumed
        number = 0
        while not over.is_set():
            number += 1
            try:
                commit = await store.commit(scripts.COUNT, [key := f"{name}:{number}"], [1, MINUTE])
            except StoreUnavailable as error:
                refused.append(error)
                await asyncio.sleep(0.02)
                continue
            resumed += bool(refused)
            if not killed.is_set() and await commit.confirmed:
                confirmed.append(key)

    writers = [asyncio.create_task(writer(f"w{n}")) for n in range(10)]
    await eventually(lambda: len(confirmed) > 500)
    old = group.primary
    killed.set()
    old.kill()
    await eventually(lambda: resumed > 50)
    over.set()
    await asyncio.gather(*writers)
    assert group.primary is not old
    assert refused
    assert all(error.retry_after and error.retry_after <= 5 for error in refused)
    counts = await asyncio.gather(*(store.execute("GET", key) for key in confirmed))
    assert counts == [b"1"] * len(confirmed)


async def test_a_stalled_primary_is_replaced(group: Group, store: Store, loop_time: LoopTime) -> None:
    """SIGSTOP: 503 by the deadline, then the replica takes over; the old one is not written to again."""  # R2, R5
    await store.execute("SET", "a", "1")
    old = group.primary
    old.stop()
    stalled = asyncio.create_task(store.execute("SET", "b", "1"))
    await loop_time.hurry(works_again(store))
    with pytest.raises(StoreUnavailable):
        await stalled
    assert await store.execute("GET", "a") == b"1"
    old.go_on()
    await store.execute("SET", "c", "1")
    with group.primary.client() as primary:
        assert primary.get("c") == b"1"


async def test_a_demoted_primary_is_left(group: Group, store: Store) -> None:
    """A failover that was asked for: READONLY or a lost connection is a 503, and then the new one is used."""  # R5
    await store.execute("SET", "a", "1")
    old = group.primary
    with group.sentinels[0].client() as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
    await eventually(lambda: old.info()["role"] == "slave")
    await works_again(store)
    assert await store.execute("GET", "a") == b"1"
    with group.primary.client() as primary:
        assert primary.get("again") == b"1"


async def test_a_primary_that_still_answers_is_left_when_the_sentinels_name_another(
    group: Group, keyring: Keyring
) -> None:
    """Nothing is wrong with the connection, only with where it leads; looking again finds that out."""  # R5
    with replicated(replicas=0) as other, sentinel_group(sentinels=1) as led:
        sentinels = Sentinels(parse_store_address(led.url), connect_timeout=60, ask_within=60, checked_every=0.01)
        store = SentinelStore(sentinels, sentinels.connect, deadline=60, wait_replicas=0)
        await store.execute("SET", "a", "1")
        with led.sentinels[0].client() as sentinel:
            sentinel.execute_command("SENTINEL", "REMOVE", SERVICE)
            sentinel.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", other.primary.port, 1)
        # In between the service is unknown, which says nothing against the connection.
        while await store.execute("GET", "a") is not None:  # noqa: ASYNC110 - another process has to be seen
            await asyncio.sleep(0.01)
        await store.execute("SET", "moved", "1")
        with other.primary.client() as primary:
            assert primary.get("moved") == b"1"
        await store.aclose()


async def test_sentinels_that_are_gone_dont_end_a_connection(keyring: Keyring) -> None:
    """What is open goes on; what is new is refused with the reason."""  # R1
    with sentinel_group(sentinels=1) as group:
        sentinels = Sentinels(parse_store_address(group.url), connect_timeout=60, ask_within=60, checked_every=0)
        store = SentinelStore(sentinels, sentinels.connect, deadline=60, wait_replicas=0)
        await store.execute("SET", "a", "1")
        group.sentinels[0].kill()
        for _ in range(20):
            assert await store.execute("GET", "a") == b"1"
        await store.aclose()
        later = open_store(group.url, keyring, wait_replicas=0)
        assert await reasons_not_ready(later, wait_replicas=0) == ["no sentinel can be reached"]
        group.sentinels[0].start()
        await works_again(later)
        await later.aclose()


async def test_a_service_nobody_knows_is_said(group: Group, keyring: Keyring) -> None:
    """A misspelt name is told apart from sentinels that are down."""
    store = open_store(group.url.replace(SERVICE, "other"), keyring, wait_replicas=0)
    assert await reasons_not_ready(store, wait_replicas=0) == [
        "no sentinel knows the service that BROKER_REDIS_URL names"
    ]
    await store.aclose()


async def test_the_sentinels_have_a_login_of_their_own(group: Group, keyring: Keyring) -> None:
    """``sentinel_username`` and ``sentinel_password`` go to the sentinels, and to nobody else."""
    with group.sentinels[0].client() as sentinel:
        sentinel.execute_command("ACL", "SETUSER", "watch", "on", ">wd", "+@all", "~*", "&*")
    for password, reasons in (("wd", []), ("other", ["no sentinel can be reached"])):
        url = f"{group.url}?sentinel_username=watch&sentinel_password={password}"
        store = open_store(url, keyring, wait_replicas=0)
        assert await reasons_not_ready(store, wait_replicas=0) == reasons
        await store.aclose()


async def test_the_newest_configuration_counts(group: Group) -> None:
    """A sentinel that was cut off can't lead back to the old primary, and a silent one is not waited for."""
    async with sentinel_that_says(epoch=3, port=1) as old, sentinel_that_says(epoch=7, port=2) as new:
        silent = free_port()
        server = await asyncio.start_server(_says_nothing, "127.0.0.1", silent)
        async with server:
            url = f"redis+sentinel://127.0.0.1:{old},127.0.0.1:{new},127.0.0.1:{silent}/{SERVICE}"
            sentinels = Sentinels(parse_store_address(url), connect_timeout=60, ask_within=60, checked_every=60)
            assert await sentinels.find_primary() == Node("127.0.0.1", 2)
            await sentinels.aclose()


@asynccontextmanager
async def sentinel_that_says(*, epoch: int, port: int) -> AsyncIterator[int]:
    """A sentinel of which nothing is real but the two answers that count; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while word := await reader.readline():
            upper = word.upper()
            if upper.startswith(b"GET-MASTER-ADDR"):
                writer.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port))
            elif upper == b"MASTER\r\n":
                writer.write(b"*2\r\n$12\r\nconfig-epoch\r\n$%d\r\n%d\r\n" % (len(str(epoch)), epoch))
            elif upper in {b"SETNAME\r\n", b"SETINFO\r\n"}:
                writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
