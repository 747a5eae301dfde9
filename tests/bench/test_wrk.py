"""What wrk is given to send, and what becomes of what it saw."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bench import wrk

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: make wrk")

SEEN = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 2 connections

{"requests":10,"microseconds":2000000,"bytes":1,"refused":0,"broken":0,"timed_out":0,"latency":{"p50":1},"statuses":{}}
"""


class Server:
    """Answers each path with the status that it names, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path, length = head.split()[1], head.lower().partition("content-length: ")[2].split("\r")[0]
                self.bodies[await reader.readexactly(int(length or 0))] += 1
                self.asked[path] += 1
                writer.write(f"HTTP/1.1 {path.rpartition('/')[2]} Said\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One on loopback."""
    answering = Server()
    listening = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    answering.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield answering


def test_a_request_is_complete_as_it_goes_over_the_wire() -> None:
    """With the length of its body in bytes, and JSON unless something else is said."""
    assert wrk.request("POST", "http://host:1/a/b?c=d", {"X": "y"}, '{"ö":1}') == (
        b"POST /a/b?c=d HTTP/1.1\r\nContent-Type: application/json\r\nHost: host:1\r\nX: y\r\nContent-Length: 8\r\n\r\n"
        b'{"\xc3\xb6":1}'
    )
    form = wrk.request("POST", "http://host:1", {"Content-Type": "application/x-www-form-urlencoded"}, "a=b")
    assert b"POST / HTTP" in form
    assert form.count(b"Content-Type") == 1
    assert b"Content-Length" not in wrk.request("GET", "http://host:1/", {})


def test_what_the_script_says_is_found_after_what_wrk_says() -> None:
    """It is the last line."""
    assert wrk.parse(SEEN)["requests"] == 10


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "[1]"])
def test_a_run_that_says_nothing_has_failed(output: str) -> None:
    """And what it said instead is named."""
    with pytest.raises(wrk.RoundFailed, match="did not say what it saw"):
        wrk.parse(output)


@needs_wrk
async def test_the_requests_are_sent_in_turn(server: Server) -> None:
    """All of them as often as each other, bodies and all, and the load counts what was answered."""
    requests = [wrk.request("POST", f"{server.url}/{number}/200", {}, f"{number}\n\r\n\0") for number in range(7)]
    load = await asyncio.to_thread(wrk.drive, server.url, requests, at_once=3, seconds=1)
    assert set(server.asked) == {f"/{number}/200" for number in range(7)}
    assert set(server.bodies) == {f"{number}\n\r\n\0".encode() for number in range(7)}
    assert max(server.asked.values()) - min(server.asked.values()) <= 3
    # Those on their way at the end were asked, and nobody waited for them.
    assert 0 <= server.asked.total() - load.requests <= 3
    assert 0 < load.p50 <= load.p99 <= load.p999 <= load.longest


@needs_wrk
async def test_answers_that_were_no_success_fail_the_round_with_their_statuses(server: Server) -> None:
    """A fast refusal must not pass for a fast answer."""
    requests = [wrk.request("GET", f"{server.url}/{status}", {}) for status in (200, 403, 503)]
    with pytest.raises(wrk.RoundFailed, match=r"were refused.*times 200, \d+ times 403, \d+ times 503"):
        await asyncio.to_thread(wrk.drive, server.url, requests, at_once=2, seconds=1)


@needs_wrk
def test_a_server_that_is_not_there_fails_the_round() -> None:
    """Nothing is listening at the discard port of loopback."""
    with pytest.raises(wrk.RoundFailed):
        wrk.drive("http://127.0.0.1:9", [b"GET / HTTP/1.1\r\n\r\n"], at_once=1, seconds=1)


def test_without_wrk_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it comes from."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(wrk.WrkMissing, match="apt-get install wrk"):
        wrk.drive("http://127.0.0.1:9", [], at_once=1, seconds=1)
