"""Connections that take their time, hoard, or never read: each costs a bounded share, for a bounded while."""

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest

from broker.app import protocol
from broker.app.serving import room_for_connections
from tests.app.wire import CHUNKED, HOST, LARGE, POST, Served, serving_wire
from tests.waiting import LoopTime, eventually

GET = b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"
A_LOOK = 0.005
"""Seconds."""


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The server."""
    async with serving_wire() as served:
        yield served


async def until_closed(served: Served, loop_time: LoopTime, within: float, sent: bytes, piece: bytes = b"") -> bytes:
    """What comes back to who sends ``sent`` and then ``piece`` ten times ``within`` so many seconds, and again and
    again, until the server closes."""
    async with served.caller() as caller:
        caller.writer.write(sent)
        answers = asyncio.create_task(caller.reader.read())
        while not answers.done():
            caller.writer.write(piece)
            await asyncio.sleep(A_LOOK)
            loop_time.advance(seconds=within / 10)
        return b"" if isinstance(answers.exception(), ConnectionResetError) else answers.result()


@pytest.mark.parametrize(
    ("sent", "piece"),
    [
        (b"", b""),
        (b"G", b""),
        (b"", b"\r\n"),
        (b"GET /", b"a"),
        (b"GET /echo HTTP/1.1\r\n" + HOST, b"x: v\r\n"),
        (b"GET /echo HTTP/1.1\r\n" + HOST + b"x: ", b"v"),
    ],
    ids=["silent", "one byte", "empty lines", "address", "fields", "value"],
)
async def test_a_head_that_does_not_come_ends_the_connection(
    served: Served, loop_time: LoopTime, sent: bytes, piece: bytes
) -> None:
    """However often a byte more arrives: the whole head has its time."""  # S11
    assert await until_closed(served, loop_time, protocol._HEAD_SECONDS, sent, piece) == b""
    assert served.asked == []


async def test_a_second_head_has_its_time_too(served: Served, loop_time: LoopTime) -> None:
    """From its first byte on; the keep-alive of an idle connection does not begin anew with each."""
    answered = await until_closed(served, loop_time, protocol._HEAD_SECONDS, GET, b"\r\n")
    assert answered.count(b"HTTP/1.1 200") == 1
    assert served.connections() == []


async def test_an_idle_connection_and_a_slow_app_are_left_alone(served: Served, loop_time: LoopTime) -> None:
    """The time is the head's alone."""
    longer = 2 * protocol._HEAD_SECONDS
    async with served.caller() as caller:
        assert (await caller.ask(GET))[0] == 200
        loop_time.advance(seconds=longer)
        await asyncio.sleep(A_LOOK)
        caller.writer.write(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await eventually(lambda: served.asked[-1] == "GET /slow")
        loop_time.advance(seconds=longer)
        await asyncio.sleep(A_LOOK)
        served.may_answer.set()
        assert (await caller.answer())[0] == 200
        # A body has its time from who reads it.
        [connection] = served.connections()
        caller.writer.write(POST)
        await eventually(lambda: connection._due)
        caller.writer.write(b"Content-Length: 1\r\n\r\n")
        await eventually(lambda: served.asked[-1] == "POST /echo")
        loop_time.advance(seconds=longer)
        await asyncio.sleep(A_LOOK)
        assert (await caller.ask(b"a"))[0] == 200


async def test_an_idle_connection_is_closed_when_its_time_is_over(served: Served) -> None:
    """As uvicorn is told to."""
    async with served.caller() as caller:
        await eventually(lambda: len(served.connections()) == 1)
        served.connections()[0].timeout_keep_alive = 0
        assert (await caller.ask(GET))[0] == 200
        assert await caller.reader.read() == b""


@pytest.mark.parametrize("piece", [b"1\r\na\r\n", b"400\r\n" + b"a" * 1024 + b"\r\n"], ids=["slowly", "fast"])
async def test_the_rest_of_a_body_is_waited_for_only_so_long(served: Served, loop_time: LoopTime, piece: bytes) -> None:
    """Whoever goes on sending after the answer ends with it."""  # S11
    head = b"POST /unread HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    answered = await until_closed(served, loop_time, protocol._REST_SECONDS, head, piece)
    assert answered.count(b"HTTP/1.1 200") in {0, 1}  # a reset may have overtaken it
    assert served.asked == ["POST /unread"]


async def test_the_rest_of_a_body_that_comes_soon_ends_nothing(served: Served, loop_time: LoopTime) -> None:
    """Many libraries send head and body apart; an app that did not need the body may have answered in between."""
    async with served.caller() as caller:
        for _ in range(3):
            head = b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n"
            assert (await caller.ask(head))[0] == 200
            caller.writer.write(b"12345")
        [connection] = served.connections()
        await eventually(lambda: not connection._seen.in_body)
        loop_time.advance(seconds=2 * protocol._REST_SECONDS)
        await asyncio.sleep(A_LOOK)
        assert (await caller.ask(GET))[0] == 200


@pytest.mark.parametrize("size", ["medium", "large"])
@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"], ids=["kept alive", "closed"])
async def test_who_takes_no_answer_is_cut_off(served: Served, loop_time: LoopTime, size: str, ending: bytes) -> None:
    """The process does not keep the answer for them, nor the connection."""  # F8
    async with served.caller() as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: len(served.connections()) == 1)
        served.connections()[0].timeout_keep_alive = 0
        caller.writer.write(b"GET /%s HTTP/1.1\r\n" % size.encode() + HOST + ending + b"\r\n")
        await eventually(lambda: served.asked == [f"GET /{size}"])
        await eventually(lambda: all(connection._write_due for connection in served.connections()))
        loop_time.advance(seconds=protocol._WRITE_SECONDS)
        await eventually(lambda: served.connections() == [])


async def test_who_takes_an_answer_slowly_gets_it(served: Served) -> None:
    """All of it, and the connection lives."""
    async with served.caller() as caller:
        caller.writer.write(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        await caller.reader.readuntil(b"\r\n\r\n")
        taken = 0
        while taken < LARGE:
            taken += len(await caller.reader.read(256 * 1024))
        assert (await caller.ask(GET))[0] == 200


async def test_a_body_that_nobody_reads_waits_at_the_sender(served: Served) -> None:
    """64 KiB and what one read brings are let in, whatever is sent."""  # S11
    async with served.caller() as caller:
        caller.writer.write(b"POST /slow HTTP/1.1\r\n" + HOST + b"Content-Length: 50000000\r\n\r\n")
        await eventually(lambda: served.asked == ["POST /slow"])
        caller.writer.write(b"x" * 50_000_000)
        [connection] = served.connections()
        await eventually(lambda: connection.flow.read_paused)
        await asyncio.sleep(A_LOOK)
        assert len(connection.cycle.body) <= (64 + 256) * 1024
        assert caller.writer.transport.get_write_buffer_size() > 10_000_000


async def test_an_idle_connection_holds_nothing_of_its_last_request(served: Served) -> None:
    """Neither a large head nor a body that nobody read; a thousand of them cost a thousand sockets."""  # F8
    heads = (
        b"GET /echo HTTP/1.1\r\n" + HOST + b"x: " + b"v" * 30_000 + b"\r\n\r\n",
        b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000,
        CHUNKED + b"1\r\na\r\n0\r\n\r\n",
    )
    for head in heads:
        async with served.caller() as caller:
            assert (await caller.ask(head))[0] == 200
            await eventually(lambda: len(served.connections()) == 1)
            [connection] = served.connections()
            names = ("cycle", "scope", "headers", "url")
            await eventually(lambda: not any(getattr(connection, name) for name in names))  # noqa: B023 - awaited here
            assert (await caller.ask(GET))[0] == 200
        await eventually(lambda: served.connections() == [])


async def test_a_worker_takes_so_many_connections_and_no_more() -> None:
    """Who comes too late is told at once; those who are there are served on, and who leaves makes room."""  # F8
    async with serving_wire(connections=2) as served, served.caller() as first:
        async with served.caller() as second:
            for caller in (first, second):
                assert (await caller.ask(GET))[0] == 200
            for _ in range(20):
                async with served.caller() as late:
                    head = await late.reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 503 ")
                    assert b"retry-after: " in head
                    await late.reader.read()
            for caller in (first, second):
                assert (await caller.ask(GET))[0] == 200
        await eventually(lambda: len(served.connections()) == 1)
        async with served.caller() as third:
            assert (await third.ask(GET))[0] == 200


@pytest.mark.parametrize(
    ("may_open", "at_most", "raised", "room"),
    [
        (1024, 65_536, 8_256, 4_000),
        (1024, resource.RLIM_INFINITY, 8_256, 4_000),
        (1024, 1024, 1024, 384),
        (100, 100, 100, 1),
        (65_536, 65_536, None, 4_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 4_000),
    ],
)
def test_there_is_room_for_as_many_as_files_may_be_opened(
    monkeypatch: pytest.MonkeyPatch, may_open: int, at_most: int, raised: int | None, room: int
) -> None:
    """The process asks for more where it may; some descriptors are left for the store and the providers."""
    told: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (may_open, at_most))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limit: told.append((what, limit)))
    assert room_for_connections() == room
    assert told == ([] if raised is None else [(resource.RLIMIT_NOFILE, (raised, at_most))])
