"""Sixty-four fetches at once, over real connections: each answer is its caller's own token or says why there is none.

What befalls one of them, or the store in the middle, touches no other.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import SecretStr

from broker.app import serving
from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.opening import open_store
from broker.vault.redis.pipeline import Pipeline
from tests.app.wire import Caller
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.server_process import TestServer, servers
from tests.waiting import eventually
from tests.world import FakeClock, ServiceClient

_MANY = 64
_DEADLINE = 30.0
"""Seconds: so long that no test meets it by accident."""


@pytest.fixture
def server() -> Iterator[TestServer]:
    """A store of the test's own."""
    with servers() as start:
        yield start("--appendfsync", "always")


@pytest.fixture
async def proxy(server: TestServer) -> AsyncIterator[FaultyProxy]:
    """A proxy before it."""
    async with FaultyProxy(f"127.0.0.1:{server.port}") as proxy:
        yield proxy


@pytest.fixture
async def heart(
    proxy: FaultyProxy, settings: Settings, providers: Registry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Heart:
    """A broker that reaches the store through the proxy."""
    monkeypatch.setattr("broker.app.heart.open_store", partial(open_store, deadline=_DEADLINE))
    behind = settings.model_copy(update={"redis_url": SecretStr(f"redis://{proxy.address}")})
    return build_heart(behind, providers, clock)


class Wire:
    """A broker that listens, and what its callers ask: one connection each, kept open."""

    def __init__(self, port: int, token: str, ids: Sequence[str], own: Sequence[str]) -> None:
        self._port = port
        self._token = token
        self.ids = ids
        self.own = own
        """The access token of each connection, in the same order."""

    async def open(self) -> Caller:
        """One more connection to it."""
        return Caller(*await asyncio.open_connection("127.0.0.1", self._port))

    def fetch(self, number: int) -> bytes:
        """The request for a connection's token."""
        head = (
            f"POST /v1/connections/{self.ids[number]}/token HTTP/1.1\r\nHost: broker.example\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Length: 0\r\n\r\n"
        )
        return head.encode()

    def judge(self, number: int, answer: tuple[int, bytes]) -> bool:
        """Whether it is that connection's own token; anything else has to be a 503 that says why."""
        status, body = answer
        said: dict[str, Any] = json.loads(body)
        if status == 200:
            assert (said["connection_id"], said["access_token"]) == (self.ids[number], self.own[number])
            return True
        assert (status, said["code"]) == (503, "store_unavailable")
        assert "access_token" not in said
        return False


@asynccontextmanager
async def listening(heart: Heart) -> AsyncIterator[int]:
    """The broker's faces on a port, served as a worker serves them."""
    listener = socket.create_server(("127.0.0.1", 0))
    # As the worker's own loop does it for each connection; here the kernel would wait 40 ms for more to send.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(serving.configuration(app_of(heart)))
    running = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started or running.done())
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def wire(heart: Heart) -> AsyncIterator[Wire]:
    """The broker, with a connection and its token for each caller."""
    async with listening(heart) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        client, secret = await heart.clients.create("app", scopes=("connections:write", "tokens:read"))
        app = ServiceClient(http, client.client_id, secret)
        ids, own = [], [f"token-{n}" for n in range(_MANY)]
        for number, token in enumerate(own):
            body = {"provider": "practice", "subject": f"s{number}", "credentials": {"access_token": token}}
            made = await app.call("POST", "/v1/connections", {**body, "validate": False})
            ids.append(made.raise_for_status().json()["id"])
        yield Wire(port, await app.broker_token(), ids, own)


@pytest.fixture
async def callers(wire: Wire) -> AsyncIterator[list[Caller]]:
    """A caller for each connection."""
    callers = [await wire.open() for _ in range(_MANY)]
    yield callers
    for caller in callers:
        caller.writer.transport.abort()


async def ask_all(wire: Wire, callers: Sequence[Caller], proxy: FaultyProxy) -> None:
    """Send every caller's request while the store's answers are kept back, until all that can have left."""
    proxy.stall_answers()
    asked = len(proxy.asked)
    for number, caller in enumerate(callers):
        caller.writer.write(wire.fetch(number))
    await eventually(lambda: len(proxy.asked) > asked)
    # The others have arrived when a request behind them on the same loop is answered without the store.
    last = await wire.open()
    assert (await last.ask(b"GET /livez HTTP/1.1\r\nHost: broker.example\r\n\r\n"))[0] == 200
    last.writer.transport.abort()


async def test_a_record_of_a_wrong_type_fails_its_own_fetch(
    wire: Wire, callers: list[Caller], proxy: FaultyProxy, server: TestServer
) -> None:
    """One of 64 that travel together meets a list where its record should be: 503 for that one, and each other caller
    has its own token."""  # R4
    with server.client() as raw:
        raw.delete(names.record(wire.ids[40]))
        raw.rpush(names.record(wire.ids[40]), "x")
    await ask_all(wire, callers, proxy)
    proxy.release_answers()
    answers = await asyncio.gather(*(caller.answer() for caller in callers))
    assert [wire.judge(n, answer) for n, answer in enumerate(answers)] == [n != 40 for n in range(_MANY)]
    assert proxy.accepted == 1


async def test_a_caller_that_hangs_up_touches_nobody(
    wire: Wire, callers: list[Caller], proxy: FaultyProxy, server: TestServer
) -> None:
    """Every third of 64 is gone before its answer: the others have their own tokens, over the same connection to the
    store, and the next fetches of all work."""  # R4
    await ask_all(wire, callers, proxy)
    for caller in callers[::3]:
        caller.writer.transport.abort()
    proxy.release_answers()
    there = [n for n in range(_MANY) if n % 3]
    answers = await asyncio.gather(*(callers[n].answer() for n in there))
    assert all(wire.judge(n, answer) for n, answer in zip(there, answers, strict=True))
    again = await wire.open()
    assert all([wire.judge(n, await again.ask(wire.fetch(n))) for n in range(_MANY)])
    again.writer.transport.abort()
    assert proxy.accepted == 1


async def test_an_answer_cut_in_the_middle_serves_who_had_one(
    wire: Wire, callers: list[Caller], proxy: FaultyProxy
) -> None:
    """The store's connection ends after some of the answers: their callers have their own tokens, the others 503; the
    next fetches of all work on a new connection."""  # R4
    proxy.end_after_answer_bytes(5_000)
    for number, caller in enumerate(callers):
        caller.writer.write(wire.fetch(number))
    answers = await asyncio.gather(*(caller.answer() for caller in callers))
    served = [wire.judge(n, answer) for n, answer in enumerate(answers)]
    assert not all(served)
    again = await asyncio.gather(*(caller.ask(wire.fetch(n)) for n, caller in enumerate(callers)))
    assert all(wire.judge(n, answer) for n, answer in enumerate(again))
    assert proxy.accepted == 2


async def test_a_store_killed_under_load_gives_each_its_own_or_a_503(
    wire: Wire, callers: list[Caller], server: TestServer
) -> None:
    """kill -9 while 64 callers fetch without a pause: every answer before, in between and after is the caller's own
    token or 503 with Retry-After; when the store is back, all are served."""  # R4, R7
    good, refused, over = 0, 0, asyncio.Event()

    async def fetching(number: int) -> None:
        nonlocal good, refused
        while not over.is_set():
            if wire.judge(number, await callers[number].ask(wire.fetch(number))):
                good += 1
            else:
                refused += 1
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(fetching(number)) for number in range(_MANY)]
    await eventually(lambda: good > 500)
    server.kill()
    await eventually(lambda: refused >= _MANY)
    await asyncio.to_thread(server.start)
    served = good
    await eventually(lambda: good > served + 500)
    over.set()
    await asyncio.gather(*tasks)
    answers = await asyncio.gather(*(caller.ask(wire.fetch(n)) for n, caller in enumerate(callers)))
    assert all(wire.judge(n, answer) for n, answer in enumerate(answers))


class TestWithAShortLine:
    """Where only twenty commands may wait for the store."""

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is made so short before the broker is."""
        monkeypatch.setattr("broker.vault.opening.Pipeline", partial(Pipeline, max_waiting=20))

    async def test_who_finds_no_place_in_the_line_is_told_at_once(
        self, wire: Wire, callers: list[Caller], proxy: FaultyProxy
    ) -> None:
        """Of 64 the first are sent or wait, and have their own tokens once the store answers; for all others there is a
        503 before that, and afterwards there is room again."""  # R4
        await ask_all(wire, callers, proxy)
        waiting = [asyncio.create_task(caller.answer()) for caller in callers]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while len(pending) > 40:
            done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert not any(wire.judge(waiting.index(task), task.result()) for task in done)
        proxy.release_answers()
        await asyncio.wait(waiting)
        served = [wire.judge(n, task.result()) for n, task in enumerate(waiting)]
        assert 20 <= sum(served) < _MANY
        again = [await caller.ask(wire.fetch(n)) for n, caller in enumerate(callers)]
        assert all(wire.judge(n, answer) for n, answer in enumerate(again))
