"""What a provider answers, and what becomes of an answer that is none."""

import asyncio
import gzip

import httpx2
import pytest

from tests.downstream.answers import code_of
from tests.downstream.proxy.caller import ProxyCaller
from tests.upstream.practice_server import Asked, PracticeServer, closed, raw_answer


async def test_status_body_and_what_helps_the_caller_pass(caller: ProxyCaller, rough: PracticeServer) -> None:
    """The provider's refusals, too, with when to come back; they can be told from the broker's own."""
    connection = await caller.connect()
    for status in (200, 201, 206, 400, 401, 403, 404, 409, 429, 500, 503, 599):
        rough.answers["/base/a"] = raw_answer(status, b"said", {"retry-after": "7", "x-rate": "1", "x-twice": "a, b"})
        answer = await caller.http.get(f"/proxy/{connection}/a")
        assert (answer.status_code, answer.content) == (status, b"said")
        assert {"retry-after": "7", "x-rate": "1", "broker-connection": connection}.items() <= answer.headers.items()
    refused = await caller.http.get("/proxy/con_0000000000000000000000/a")
    assert (refused.status_code, code_of(refused)) == (404, "not_found")
    assert "broker-connection" not in refused.headers


async def test_a_packed_answer_stays_packed(caller: ProxyCaller, connection: dict[str, str]) -> None:
    """Not one byte of it is another."""
    async with caller.http.stream("GET", f"/proxy/{connection['id']}/streams/packed") as answer:
        body = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert body == gzip.compress(b"unpacked " * 1000, mtime=0)


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(caller: ProxyCaller, rough: PracticeServer, status: int) -> None:
    """Whatever length it names (RFC 9110 §8.6); the connection goes on to be of use."""
    connection = await caller.connect()
    rough.answers["/base/a"] = raw_answer(status, b"", {"content-length": "5", "etag": '"x"'})
    for _ in range(2):
        answer = await caller.http.get(f"/proxy/{connection}/a")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (status, b"", '"x"')


async def test_head_tells_what_get_would(caller: ProxyCaller, rough: PracticeServer) -> None:
    """The length of a body that does not come."""
    rough.answers["/base/a"] = b"HTTP/1.1 200 x\r\ncontent-length: 5000000\r\nconnection: close\r\n\r\n"
    answer = await caller.http.head(f"/proxy/{await caller.connect()}/a")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "5000000")
    assert rough.asked[0].method == "HEAD"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x05hello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 600 x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 999 x\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_a_status_that_ends_no_request_is_a_fault(
    caller: ProxyCaller, rough: PracticeServer, said: bytes
) -> None:
    """No protocol is switched to that nobody asked for, and no number passed on that means nothing."""  # G2
    rough.answers["/base/a"] = said
    answer = await caller.http.get(f"/proxy/{await caller.connect()}/a")
    assert (answer.status_code, code_of(answer)) in {(502, "provider_error"), (503, "provider_unavailable")}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200\r\nbroken header\r\n\r\n",
        b"HTTP/1.1 200 x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 x\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 x\r\nx-long: " + b"x" * 200_000,
    ],
    ids=["nothing", "no HTTP", "no header", "two lengths", "negative", "endless"],
)
async def test_what_is_no_answer_is_told_as_none(caller: ProxyCaller, rough: PracticeServer, said: bytes) -> None:
    """503; a request that changes something is not sent twice."""  # P2
    rough.answers["/base/a"] = said
    answer = await caller.http.post(f"/proxy/{await caller.connect()}/a", content=b"x")
    assert (answer.status_code, code_of(answer)) == (503, "provider_unavailable")
    assert "retry-after" in answer.headers
    assert len(rough.asked) == 1


async def test_chunks_count_for_more_than_a_length(caller: ProxyCaller, rough: PracticeServer) -> None:
    """Where an answer has both, the caller sees one of them (RFC 9112 §6.3)."""
    body = b"5\r\nhello\r\n0\r\n\r\n"
    both = b"content-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    rough.answers["/base/a"] = b"HTTP/1.1 200 x\r\n" + both + body
    answer = await caller.http.get(f"/proxy/{await caller.connect()}/a")
    assert answer.content == b"hello"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("length", ["", "&length=no"])
async def test_an_answer_that_breaks_off_breaks_off(
    caller: ProxyCaller, connection: dict[str, str], length: str
) -> None:
    """The caller can't take half of it for the whole."""
    with pytest.raises(httpx2.RemoteProtocolError):
        await caller.http.get(f"/proxy/{connection['id']}/streams/bytes?size=500000&cut=200000{length}")


async def test_an_answer_that_is_too_large_is_refused_or_broken_off(caller: ProxyCaller, rough: PracticeServer) -> None:
    """502 where its length is told; else it ends where the limit is. One of just that size passes."""
    connection, most = await caller.connect(), 1_000_000
    rough.answers["/base/most"] = raw_answer(200, b"x" * most)
    rough.answers["/base/more"] = raw_answer(200, b"x" * (most + 1))
    rough.answers["/base/endless"] = b"HTTP/1.1 200 x\r\nconnection: close\r\n\r\n" + b"x" * (most + 1)
    assert len((await caller.http.get(f"/proxy/{connection}/most")).content) == most
    refused = await caller.http.get(f"/proxy/{connection}/more")
    assert (refused.status_code, code_of(refused)) == (502, "provider_error")
    with pytest.raises(httpx2.RemoteProtocolError):
        await caller.http.get(f"/proxy/{connection}/endless")


async def test_a_provider_that_hangs_is_given_up(caller: ProxyCaller, rough: PracticeServer) -> None:
    """After ``api.timeout``, before the head and between two parts; what was sent may have been done, so once."""  # P1
    connection, never = await caller.connect(), asyncio.Event()

    async def silent(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    async def half(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\n\r\nhalf")
        await never.wait()

    rough.answers |= {"/base/silent": silent, "/base/half": half}

    async def broken_off() -> None:
        with pytest.raises(httpx2.RemoteProtocolError):
            await caller.http.get(f"/proxy/{connection}/half")

    answer, _ = await asyncio.gather(caller.http.get(f"/proxy/{connection}/silent"), broken_off())
    assert (answer.status_code, code_of(answer)) == (503, "provider_unavailable")
    assert len(rough.asked) == 2


async def test_a_provider_that_is_not_there_is_told(caller: ProxyCaller, rough: PracticeServer) -> None:
    """503: nothing was sent."""
    connection = await caller.connect()
    rough.answers["/base/a"] = b""
    answer = await caller.http.get(f"/proxy/{connection}/a")
    assert (answer.status_code, code_of(answer)) == (503, "provider_unavailable")
    assert len(rough.asked) == 1


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 x\r\nContent-Length: 40"),
        ("GET", b"HTTP/1.1 204 x"),
        ("GET", b"HTTP/1.1 200 x\r\nContent-Length: 0"),
    ],
)
async def test_what_comes_behind_an_answer_is_nobodys_answer(
    caller: ProxyCaller, rough: PracticeServer, method: str, head: bytes
) -> None:
    """The next request, of whomever, has a connection of its own."""  # S5
    ended = asyncio.Event()

    async def planting(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 7\r\n\r\nplanted")
        await writer.drain()
        await closed(writer)
        ended.set()

    rough.answers |= {"/base/a": planting, "/base/b": b"HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\ntrue"}
    connection = await caller.connect()
    await caller.http.request(method, f"/proxy/{connection}/a")
    await ended.wait()
    assert (await caller.http.get(f"/proxy/{connection}/b")).text == "true"
