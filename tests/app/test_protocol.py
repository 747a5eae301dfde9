"""One connection, whatever is sent on it: heads and framing have their bounds, and no byte is read in two ways."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.app import protocol
from tests.app.wire import CHUNKED, HOST, POST, Caller, Served, serving_wire
from tests.processes import broker_process
from tests.waiting import eventually

KIB = 1024
GET = b"GET /echo HTTP/1.1\r\n" + HOST


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The server."""
    async with serving_wire() as served:
        yield served


def fields(number: int, size: int = 10) -> bytes:
    """So many header fields, of so many bytes each with what separates them."""
    return b"".join(b"x-%03d: %s\r\n" % (i, b"v" * (size - 9)) for i in range(number))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /echo?" + b"q" * (8 * KIB - 6) + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + fields(99) + b"\r\n",
        GET + fields(31, KIB) + b"\r\n",
        GET + b"x: " + b"v" * 31 * KIB + b"\r\n\r\n",
        b"\r\n\r\n" + GET + b"\r\n",
    ],
    ids=["address", "fields", "bytes", "one long field", "empty lines before it"],
)
async def test_a_head_within_its_bounds_is_served(served: Served, head: bytes) -> None:
    """The limit is the last size that is fine; in one write, or in two."""
    async with served.caller() as caller:
        assert (await caller.ask(head))[0] == 200
        for part in (head[: len(head) // 2], head[len(head) // 2 :]):
            caller.writer.write(part)
            await caller.writer.drain()
        assert (await caller.answer())[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /echo?" + b"q" * (8 * KIB - 5) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (GET + fields(100) + b"\r\n", 431),
        (GET + fields(33, KIB) + b"\r\n", 431),
        (GET + b"x: " + b"v" * 33 * KIB + b"\r\n\r\n", 431),
        (b"A" * 5000 + b" /echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ],
    ids=["address", "fields", "bytes", "one long field", "verb"],
)
async def test_a_head_beyond_them_is_refused_and_the_connection_closed(
    served: Served, head: bytes, status: int
) -> None:
    """RFC 9110 §15.5.15, RFC 6585 §5; the app is not asked, nor for what follows."""  # S11, S12
    answers = await served.exchange(head + GET + b"\r\n")
    assert [answer[0] for answer in answers] == [status]
    assert served.asked == []


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"GET /", b"a" * KIB, 414),
        (GET + b"x: ", b"v" * KIB, 431),
        (GET, b"n" * KIB, 431),
        (GET, b"x: v\r\n", 431),
        (CHUNKED + b"1;", b"e" * KIB, 400),
        (CHUNKED + b"1;e=", b'"' + b"e" * KIB + b'"', 400),
        (CHUNKED + b"0\r\nx: ", b"v" * KIB, 400),
        (CHUNKED + b"0\r\n", b"x: v\r\n" * 100, 400),
    ],
    ids=["address", "value", "name", "fields", "chunk extension", "its value", "trailer", "trailers"],
)
async def test_what_never_ends_is_cut_off(served: Served, start: bytes, piece: bytes, status: int) -> None:
    """The parser sets no end to a line, nor to what stands around a body; the process keeps none of it."""  # S11
    async with served.caller() as caller:
        caller.writer.write(start)
        sent = await caller.pour(piece, times=10_000)
        assert (await caller.answer())[0] == status
        # What lies in sockets' buffers on the way was sent, but not taken in.
        assert sent < 10_000


async def test_many_small_chunks_are_no_fault(served: Served) -> None:
    """A body in chunks of one byte, each with a short extension, is a body."""
    async with served.caller() as caller:
        status, body = await caller.ask(CHUNKED + b"1;x=y\r\na\r\n" * 30_000 + b"0\r\n\r\n")
        assert status == 200
        assert body.count(b"a") >= 30_000


async def test_a_trailer_is_not_a_header(served: Served) -> None:
    """What comes after the body can't authenticate anybody: it is dropped (RFC 9110 §6.5.1)."""  # S14
    async with served.caller() as caller:
        status, body = await caller.ask(CHUNKED + b"1\r\na\r\n0\r\nAuthorization: Bearer bat_x\r\nX-A: 1\r\n\r\n")
        assert status == 200
        assert b"host" in body
        assert b"authorization" not in body
        assert b"x-a" not in body
        assert (await caller.ask(GET + b"\r\n"))[0] == 200


BODY = b"0\r\n\r\n" + GET + b"\r\n"
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + BODY,
    "length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n" + BODY,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY,
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\n" + BODY,
    "signed length": POST + b"Content-Length: +5\r\n\r\n" + BODY,
    "negative length": POST + b"Content-Length: -5\r\n\r\n" + BODY,
    "hex length": POST + b"Content-Length: 0x5\r\n\r\n" + BODY,
    "huge length": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + BODY,
    "coding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "space before the colon": POST + b"Content-Length : 5\r\n\r\n" + BODY,
    "folded line": GET + b"X-A: 1\r\n Content-Length: 5\r\n\r\n" + BODY,
    "NUL": GET + b"X-A: 1\x00\r\n\r\n",
    "bare CR": GET + b"X-A: 1\rX-B: 2\r\n\r\n",
    "bare LF": b"GET /echo HTTP/1.1\nHost: broker.example\n\n",
    "no name": GET + b": 1\r\n\r\n",
    "no host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + b"\r\n",
    "lower-case verb": b"get /echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown verb": b"BREW /echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /echo\r\n\r\n",
    "version 0.9": b"GET /echo HTTP/0.9\r\n" + HOST + b"\r\n",
    "version 2.0": b"GET /echo HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "authority": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n" + GET + b"\r\n",
    "no path": b"GET http://evil.example HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the path": b"GET /echo\xff HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_what_can_be_read_in_two_ways_is_read_in_none(served: Served, sent: bytes) -> None:
    """A proxy before the broker and the broker can't disagree where a request ends, or which one it is: 400, closed."""
    # S9, S11, S12
    answers = await served.exchange(sent)
    assert [status for status, _ in answers] == [400]
    assert served.asked == []


@pytest.mark.parametrize(
    "coding", [b"xchunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked;a=b", b""]
)
async def test_only_one_transfer_coding_is_understood(served: Served, coding: bytes) -> None:
    """Any other is refused before the app sees the head, by the parser or after it (RFC 9112 §6.1)."""  # S11
    [(status, _)] = await served.exchange(POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + BODY)
    assert status in {400, 501}
    assert served.asked == []


@pytest.mark.parametrize("framing", [b"zz\r\na\r\n", b"f" * 17 + b"\r\na\r\n", b"1\r\naa\r\n", b"-1\r\na\r\n"])
async def test_a_body_with_a_fault_reaches_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch, framing: bytes
) -> None:
    """The app is told at once that its caller is gone, and what it may still answer does not follow the 400."""  # S11
    monkeypatch.setattr(protocol, "_FAREWELL_SECONDS", 600.0)
    async with served.caller() as caller:
        caller.writer.write(CHUNKED + framing)
        await eventually(lambda: served.left == 1)
        assert [status for status, _ in await caller.all_answers()] == [400]


async def test_an_absolute_address_is_only_a_path(served: Served) -> None:
    """RFC 9112 §3.2.2; whose name it holds changes nothing."""
    async with served.caller() as caller:
        assert (await caller.ask(b"GET http://evil.example/echo HTTP/1.1\r\n" + HOST + b"\r\n"))[0] == 200
    assert served.asked == ["GET /echo"]


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT /echo HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na",
    ],
    ids=["CONNECT", "h2c", "websocket", "with a body"],
)
async def test_nothing_is_read_of_another_protocol(served: Served, head: bytes) -> None:
    """The request is answered as if none had been asked for; what follows is not taken for a request, nor later."""
    async with served.caller() as caller:
        caller.writer.write(head + GET + b"\r\n")
        caller.writer.write(GET + b"\r\n")
        assert [status for status, _ in await caller.all_answers()] == [200]
    assert len(served.asked) == 1


async def test_requests_sent_ahead_are_answered_in_order(served: Served) -> None:
    """RFC 9112 §9.3.2: as many as were sent."""
    async with served.caller() as caller:
        for i in range(10):
            caller.writer.write(POST + b"Content-Length: 1\r\n\r\n%d" % i)
        for i in range(10):
            assert b'"body":"%d"' % i in (await caller.answer())[1]


async def test_too_many_requests_sent_ahead_end_the_connection(served: Served) -> None:
    """One that is answered and 16 that wait: the rest is not read, so a small packet is not blown up into thousands."""
    # F8
    answers = await served.exchange((b"GET /unread HTTP/1.1\r\n" + HOST + b"\r\n") * 5_000)
    assert [status for status, _ in answers] == [200] * 17
    assert len(served.asked) == 17


async def test_a_fault_never_overtakes_an_answer(served: Served) -> None:
    """The answer to the first request is not mistaken for one to the second: it comes, and then nothing does."""
    async with served.caller() as caller:
        caller.writer.write(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + b"nonsense\r\n\r\n")
        await eventually(lambda: served.asked == ["GET /slow"])
        served.may_answer.set()
        assert await caller.all_answers() == [(200, b"{}")]


async def test_a_fault_in_a_body_that_nobody_waited_for_is_answered_by_nothing(served: Served) -> None:
    """The request has had its answer; a second one would be taken for that to the next request."""
    async with served.caller() as caller:
        head = b"POST /unread HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        assert (await caller.ask(head))[0] == 200
        caller.writer.write(b"zz\r\n")
        assert await caller.all_answers() == []


async def test_who_asked_before_sending_and_was_refused_sends_nothing_after(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 §10.1.1: the next request would be taken for the body that never came, so the connection ends."""
    monkeypatch.setattr(protocol, "_REST_SECONDS", 600.0)
    head = b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    assert [status for status, _ in await served.exchange(head)] == [200]


async def test_who_asked_before_sending_and_may_goes_on(served: Served) -> None:
    """The body comes after the 100, and the connection lives."""
    async with served.caller() as caller:
        caller.writer.write(POST + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await caller.ask(b"a"))[0] == 200
        assert (await caller.ask(GET + b"\r\n"))[0] == 200


async def test_a_real_broker_keeps_to_it() -> None:
    """On the loop and the sockets that are served with."""  # S11, S12
    sent = {
        GET.replace(b"/echo", b"/livez") + b"\r\n": 200,
        GET + fields(100) + b"\r\n": 431,
        GET + b"x: " + b"v" * 33 * KIB + b"\r\n\r\n": 431,
        b"GET /" + b"a" * 9 * KIB + b" HTTP/1.1\r\n" + HOST + b"\r\n": 414,
        **dict.fromkeys(AMBIGUOUS.values(), 400),
    }
    with broker_process({}) as url:
        for raw, status in sent.items():
            reader, writer = await asyncio.open_connection("localhost", int(url.rpartition(":")[2]))
            writer.write(raw)
            answered, body = await Caller(reader, writer).answer()
            assert answered == status, (raw[:80], body)
            assert status == 200 or await reader.read() == b""
            writer.transport.abort()
