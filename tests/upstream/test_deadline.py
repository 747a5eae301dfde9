"""A process that stands still past a deadline, on both event loops: what has arrived is read, and no more."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvloop

from broker.upstream import deadline
from broker.upstream.egress import Egress, InboundResponse, OutboundRequest
from tests.upstream.practice_server import raw_answer
from tests.upstream.tls import contexts_for

SECONDS = 0.5
"""The deadline."""
PATIENCE = 20
BODY = b"refresh_token=once"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
both_loops = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])


class Provider:
    """In a thread of its own, so that it goes on while the loop of the test stands still. Answers one request."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._listener = listener
        self._tls = tls
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.answered = threading.Event()
        self.pieces: list[bytes] = []
        """What it says, and then it keeps the connection open until the other side closes it."""
        self.thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
            connection.settimeout(PATIENCE)
            said = b""
            while not said.endswith(BODY):
                said += connection.recv(65536)
            self.asked.set()
            self.may_answer.wait(PATIENCE)
            for piece in self.pieces:
                connection.sendall(piece)
            self.answered.set()
            connection.recv(1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as made:
        made.settimeout(PATIENCE)
        yield made


async def stood_still(provider: Provider, egress: Egress, origin: str) -> "asyncio.Task[InboundResponse]":
    """A request that has left. Since then the process has stood still for longer than the request may take, and the
    provider has said what it has to say."""
    provider.thread.start()
    request = OutboundRequest("POST", f"{origin}:{provider.port}/token", {}, BODY)
    sending = asyncio.create_task(egress.send(request, deadline=SECONDS, trusted=True))
    assert await asyncio.to_thread(provider.asked.wait, PATIENCE)
    provider.may_answer.set()
    assert provider.answered.wait(PATIENCE)
    time.sleep(SECONDS + 0.1)  # noqa: ASYNC251 - that is what it is about
    return sending


def run(loop_factory: LoopFactory, story: Callable[[], Awaitable[None]]) -> None:
    """The story, on a loop of this kind."""

    async def within_patience() -> None:
        await asyncio.wait_for(story(), PATIENCE)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(within_patience())


@both_loops
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_has_arrived_is_not_thrown_away(
    loop_factory: LoopFactory, listener: socket.socket, tmp_path: Path, scheme: str
) -> None:
    """The provider answered in time; that nobody looked is no fault of its, and the new refresh token is in there."""
    # F6, R5
    server_side, client_side = contexts_for("localhost", tmp_path)
    provider = Provider(listener, server_side if scheme == "https" else None)
    answer = raw_answer(200, b"x" * 100_000)
    provider.pieces = [answer[:30], answer[30:200], answer[200:]]

    async def story() -> None:
        egress = Egress(ssl_context=client_side)
        try:
            received = await (await stood_still(provider, egress, f"{scheme}://localhost"))
        finally:
            await egress.aclose()
        assert (received.status, len(received.body)) == (200, 100_000)

    run(loop_factory, story)


@both_loops
def test_who_has_not_answered_gets_one_moment(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more, however often the process stands still: the deadline stays one."""  # P1
    monkeypatch.setattr(deadline, "MOMENT", 0.02)

    async def unanswered() -> None:
        async with deadline.within(0.02):
            await asyncio.Event().wait()

    async def story() -> None:
        waiting = asyncio.create_task(unanswered())
        for _ in range(10):
            await asyncio.sleep(0)
            time.sleep(0.04)  # noqa: ASYNC251 - that is what it is about
        assert waiting.done()
        with pytest.raises(TimeoutError):
            await waiting

    run(loop_factory, story)


@both_loops
def test_a_timer_in_time_gives_no_moment(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process runs, silence ends at the deadline: nobody who is asked can stretch it."""  # P1
    monkeypatch.setattr(deadline, "MOMENT", PATIENCE * 2)

    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with deadline.within(0.05):
                await asyncio.Event().wait()

    run(loop_factory, story)


def test_who_gives_up_in_that_moment_is_heard(listener: socket.socket) -> None:
    """Cancelled from outside, it is cancelled, and not late."""
    provider = Provider(listener)

    async def story() -> None:
        egress = Egress()
        try:
            sending = await stood_still(provider, egress, "http://127.0.0.1")
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        finally:
            await egress.aclose()

    run(uvloop.new_event_loop, story)
