"""A proxy that is as bad as a network can be, on command: it stands between the broker and its store or a provider."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

_CHUNK = 65_536


class FaultyProxy:
    """Passes bytes on between its TCP port and ``target``; every fault is off until it is switched on."""

    def __init__(self, target: str) -> None:
        """``target``: the path of a unix socket, or ``host:port``."""
        self._target = target
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()
        self._drop_next_answer = False
        self._answer_bytes_left: int | None = None
        self._answer_bytes_until_stall: int | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self.jitter: random.Random | None = None
        """Cuts answers into pieces and delays each by up to 2 ms."""
        self.asked = bytearray()
        """Everything that clients sent."""
        self.accepted = 0
        """Connections so far."""

    @property
    def address(self) -> str:
        """``host:port`` that it listens on, the same after :meth:`heal`."""
        return f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def heal(self) -> None:
        """Listen again."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections, and end those there are without a word."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def stall_answers(self) -> None:
        """Keep what the other side says from arriving."""
        self._answers_flow.clear()

    def release_answers(self) -> None:
        """Let it arrive now."""
        self._answers_flow.set()

    @property
    def stalls(self) -> bool:
        """Whether answers are kept from arriving, by now."""
        return not self._answers_flow.is_set()

    def drop_next_answer(self) -> None:
        """Swallow the next answer, and end its connection."""
        self._drop_next_answer = True

    def end_after_answer_bytes(self, count: int) -> None:
        """Let ``count`` more bytes of answers through, then end the connection."""
        self._answer_bytes_left = count

    def stall_after_answer_bytes(self, count: int) -> None:
        """Let ``count`` more bytes of answers through, then :meth:`stall_answers`."""
        self._answer_bytes_until_stall = count

    def say(self, data: bytes) -> None:
        """Say something to every client that the other side never said."""
        for client in self._clients:
            client.write(data)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._clients.add(writer)
        try:
            async with _closing(writer), self._reached() as (far_reader, far_writer), _closing(far_writer):
                await _until_one_ends(self._pass_on(reader, far_writer), self._pass_back(far_reader, writer))
        except asyncio.CancelledError:
            pass  # the stream server reports a cancelled handler as an error
        finally:
            self._connections.discard(task)
            self._clients.discard(writer)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, _, port = self._target.rpartition(":")
        yield await (asyncio.open_connection(host, port) if host else asyncio.open_unix_connection(self._target))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            self.asked += data
            sink.write(data)
            await sink.drain()

    async def _pass_back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._answers_flow.wait()
            if self._drop_next_answer:
                self._drop_next_answer = False
                return
            if self._answer_bytes_left is not None:
                data, self._answer_bytes_left = data[: self._answer_bytes_left], None
                sink.write(data)
                await sink.drain()
                return
            if self._answer_bytes_until_stall is not None:
                count, self._answer_bytes_until_stall = self._answer_bytes_until_stall, None
                await self._deliver(data[:count], sink)
                self.stall_answers()
                data = data[count:]
                await self._answers_flow.wait()
            await self._deliver(data, sink)

    async def _deliver(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        while data:
            length = self.jitter.randint(1, 400) if self.jitter else len(data)
            sink.write(data[:length])
            await sink.drain()
            data = data[length:]
            if self.jitter:
                await asyncio.sleep(self.jitter.random() * 0.002)


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _until_one_ends(*ways: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
