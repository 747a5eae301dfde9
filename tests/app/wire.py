"""A server with the worker's own protocol in this process, and callers that write whatever bytes they like to it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.app import serving
from broker.app.protocol import LimitedProtocol
from tests.waiting import eventually

HOST = b"Host: broker.example\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = 8_000_000
MEDIUM = 60_000
"""Bytes: less than makes a transport complain, more than the kernels between the two keep."""
_LITTLE = 4096


@dataclass
class Served:
    """The server, and what its app was asked."""

    port: int
    server: uvicorn.Server
    asked: list[str] = field(default_factory=list)
    """Method and path of every request that reached the app."""
    left: int = 0
    """Requests whose caller was gone before its body had come in full."""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def connections(self) -> list[LimitedProtocol]:
        """Those that are open."""
        return [one for one in self.server.server_state.connections if isinstance(one, LimitedProtocol)]

    @asynccontextmanager
    async def caller(self) -> AsyncIterator["Caller"]:
        """A connection to it, whose kernel takes in little that the caller does not read."""
        connected = socket.socket()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connected)
        try:
            yield Caller(reader, writer)
        finally:
            writer.transport.abort()

    async def exchange(self, sent: bytes) -> list[tuple[int, bytes]]:
        """Everything that is answered to ``sent`` until the server closes: status and body."""
        async with self.caller() as caller:
            caller.writer.write(sent)
            return await caller.all_answers()


@dataclass
class Caller:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, sent: bytes) -> tuple[int, bytes]:
        """Send a request, and read one answer."""
        self.writer.write(sent)
        return await self.answer()

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        return int(head.split()[1]), await self.reader.readexactly(int(length[1]))

    async def all_answers(self) -> list[tuple[int, bytes]]:
        """Every answer until the server closes."""
        answers = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                answers.append(await self.answer())
        return answers

    async def pour(self, piece: bytes, *, times: int) -> int:
        """Send ``piece`` over and over until the server closes; answers how often it could be sent."""
        for sent in range(times):
            self.writer.write(piece)
            with suppress(ConnectionError):
                await self.writer.drain()
            # The server must get its turn, and its end be noticed.
            await asyncio.sleep(0)
            if self.reader.at_eof() or self.writer.transport.is_closing() or self.reader._buffer:  # type: ignore[attr-defined]
                return sent
        return times


@asynccontextmanager
async def serving_wire(connections: int | None = None) -> AsyncIterator[Served]:
    """A server as the worker configures it, with an app that notes what it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LITTLE)

    async def echo(request: Request) -> Response:
        served.asked.append(f"{request.method} {request.url.path}")
        try:
            body = await request.body()
        except ClientDisconnect:
            served.left += 1
            return Response()
        names = sorted({name for name, _ in request.headers.items()})
        return JSONResponse({"body": body.decode("latin-1"), "headers": names})

    async def unread(request: Request) -> Response:
        served.asked.append(f"{request.method} {request.url.path}")
        return JSONResponse({})

    async def slow(request: Request) -> Response:
        served.asked.append(f"{request.method} {request.url.path}")
        await served.may_answer.wait()
        return JSONResponse({})

    async def large(request: Request) -> Response:
        served.asked.append(f"{request.method} {request.url.path}")
        return Response(b"x" * LARGE)

    async def medium(request: Request) -> Response:
        served.asked.append(f"{request.method} {request.url.path}")
        return Response(b"x" * MEDIUM)

    methods = ["GET", "POST", "CONNECT"]
    app = Starlette(
        routes=[
            Route("/echo", echo, methods=methods),
            Route("/unread", unread, methods=methods),
            Route("/slow", slow, methods=methods),
            Route("/large", large, methods=methods),
            Route("/medium", medium, methods=methods),
        ]
    )
    config = serving.configuration(app)
    if connections is not None:
        config.limit_concurrency = connections
    served = Served(listener.getsockname()[1], uvicorn.Server(config))
    running = asyncio.create_task(served.server.serve([listener]))
    await eventually(lambda: served.server.started or running.done())
    try:
        yield served
    finally:
        served.may_answer.set()
        served.server.should_exit = served.server.force_exit = True
        for connection in served.connections():
            connection.transport.abort()
        await running
