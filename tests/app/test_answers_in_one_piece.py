"""Head and body of an answer travel together, unless the body takes its time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from broker.app.protocol import LimitedProtocol

ASKED = b"GET / HTTP/1.1\r\nHost: broker.test\r\n\r\n"


class Pieces(asyncio.Transport):
    """A connection that notes what is written in one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        assert all(list_of_data), "an empty piece stays in the buffer of some loops, which then never close"
        self.written.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


Ask = Callable[[ASGIApp], Awaitable[Pieces]]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Asks an app over a connection of its own, and lets the loop go round until it has answered or waits."""
    protocols: list[LimitedProtocol] = []

    async def asked(app: ASGIApp) -> Pieces:
        config = uvicorn.Config(cast("Any", app), http=LimitedProtocol, log_config=None)
        config.load()
        transport = Pieces()
        protocols.append(protocol := LimitedProtocol(config, ServerState(), {}, asyncio.get_running_loop()))
        protocol.connection_made(transport)
        protocol.data_received(ASKED)
        for _ in range(10):
            await asyncio.sleep(0)
        return transport

    yield asked
    for protocol in protocols:
        protocol.connection_lost(None)


async def _start(send: Send, length: int) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})


async def test_head_and_body_travel_in_one_piece(ask: Ask) -> None:
    """One system call, and one packet, for what is small."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await _start(send, 2)
        await send({"type": "http.response.body", "body": b"ok"})

    (piece,) = (await ask(app)).written
    assert piece.startswith(b"HTTP/1.1 200 OK\r\n")
    assert piece.endswith(b"\r\n\r\nok")


async def test_a_head_does_not_wait_for_a_body_that_takes_its_time(ask: Ask) -> None:
    """Whoever streams is told so before there is anything to stream."""
    more = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await _start(send, 4)
        await more.wait()
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"ay"})

    transport = await ask(app)
    assert [piece[:15] for piece in transport.written] == [b"HTTP/1.1 200 OK"]
    more.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert b"".join(transport.written).endswith(b"\r\n\r\nokay")


async def test_an_answer_without_a_body_is_its_head(ask: Ask) -> None:
    """Nothing empty is written behind it."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await _start(send, 0)
        await send({"type": "http.response.body", "body": b""})

    (piece,) = (await ask(app)).written
    assert piece.endswith(b"content-length: 0\r\n\r\n")


async def test_what_is_held_is_written_before_the_connection_closes(ask: Ask) -> None:
    """An answer without a body, on a connection that ends with it."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    transport = await ask(app)
    assert b"".join(transport.written).startswith(b"HTTP/1.1 204 ")
    assert transport.closed
