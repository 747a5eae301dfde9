"""A real HTTP/1.1 server on loopback: records what it is asked, and answers byte by byte what a test says."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from broker.upstream.egress import InboundResponse


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body, read as a form in which nothing stands twice."""
        pairs = parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    @property
    def json(self) -> object:
        """The body, read as JSON."""
        return json.loads(self.body)


Handler = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def raw_answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer on the wire."""
    lines = {"content-length": str(len(body)), "connection": "close", **(headers or {})}
    head = f"HTTP/1.1 {status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def json_answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer on the wire, with a JSON body."""
    return raw_answer(status, json.dumps(document).encode(), {"content-type": "application/json", **(headers or {})})


def inbound(
    document: object = None,
    *,
    status: int = 200,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> InboundResponse:
    """An answer as the parsers get it, without a wire in between."""
    content = json.dumps(document).encode() if body is None else body
    return InboundResponse(status, {"content-type": "application/json"} if headers is None else headers, content)


@dataclass
class PracticeServer:
    """What is asked of it is in ``asked``; what it answers, by path, is in ``answers`` (404 without an entry)."""

    origin: str
    port: int
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, bytes | Handler] = field(default_factory=dict)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, which is one request."""
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        try:
            asked = await _read_request(reader)
            self.asked.append(asked)
            answer = self.answers.get(urlsplit(asked.target).path, raw_answer(404))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(asked, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self.running.discard(task)
            writer.close()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Return when the client has closed its connection, and said nothing more before."""
    reader = writer.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
    assert await reader.read() == b""


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    return Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def practice_server(
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[PracticeServer]:
    """A server that listens until the block ends."""
    server = PracticeServer("", port)
    listener = await asyncio.start_server(server.serve, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    server.origin = f"{'https' if tls else 'http'}://{host}:{server.port}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(server.running):
            task.cancel()
        await asyncio.gather(*server.running, return_exceptions=True)
