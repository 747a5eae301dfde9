"""What leaves for what an app sends: byte for byte what uvicorn makes of it, and never a line of somebody else's."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from broker.app.answering import Answering
from tests.app.test_answers_in_one_piece import Pieces

Message = dict[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

LENGTH_2: Headers = [(b"content-type", b"text/plain"), (b"Content-Length", b"2"), (b"x-100%", b"%s \xe9\t")]


def start(headers: Headers | None = None, status: int = 200) -> Message:
    """A head; without any headers if none are given."""
    return {"type": "http.response.start", "status": status, **({} if headers is None else {"headers": headers})}


def body(part: bytes = b"", *, more: bool = False) -> Message:
    """Some of a body."""
    return {"type": "http.response.body", "body": part, "more_body": more}


ANSWERS: dict[str, Sequence[Message]] = {
    "of a known length": [start(LENGTH_2), body(b"ok")],
    "in parts": [start(LENGTH_2), body(b"o", more=True), body(b"k", more=True), body()],
    "whole, and then its end": [start(LENGTH_2), body(b"ok", more=True), body()],
    "of no length": [start(), body(b"o", more=True), body(b"k")],
    "in chunks, as it says": [start([(b"Transfer-Encoding", b"Chunked")]), body(b"ok")],
    "in chunks, with a length": [start([*LENGTH_2, (b"transfer-encoding", b"chunked")]), body(b"ok")],
    "with two lengths": [start([*LENGTH_2, (b"content-length", b"3")]), body(b"ok")],
    "the last of its connection": [start([*LENGTH_2, (b"Connection", b"x, Close")]), body(b"ok")],
    "empty": [start([(b"content-length", b"0")]), body()],
    "204": [start(status=204), body()],
    "304 with the length of what it stands for": [start(LENGTH_2, 304), body()],
    "too long": [start(LENGTH_2), body(b"oka")],
    "too long in the end": [start(LENGTH_2), body(b"ok", more=True), body(b"a")],
    "too short": [start(LENGTH_2), body(b"o")],
    "too short in the end": [start(LENGTH_2), body(b"o", more=True), body()],
    "no number": [start([(b"content-length", b"two")]), body(b"ok")],
    "no status": [start(LENGTH_2, 999), body(b"ok")],
    "no head": [body(b"ok")],
    "two heads": [start(LENGTH_2), start(LENGTH_2), body(b"ok")],
    "more after its end": [start(LENGTH_2), body(b"ok"), body(b"ok")],
}
FOREIGN = [bytes([byte]) for byte in (*range(9), *range(10, 32), 127)]


class Sent:
    """What became of some messages: the bytes, whether the connection was closed, and what the app was told."""

    def __init__(self, *, keep_alive: bool = True, method: str = "GET") -> None:
        self.transport = Pieces()
        self.completed = 0
        self.error: str | None = None
        config = uvicorn.Config("none", interface="asgi3", log_config=None, access_log=False, ws="none")
        config.loaded, config.loaded_app, config.ws_protocol_class = True, None, None
        state = ServerState()
        state.default_headers = [(b"date", b"now")]
        self.protocol = HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)
        self.protocol.scope = {"method": method}  # type: ignore[typeddict-item]
        self.protocol.on_response_complete = self._complete  # type: ignore[method-assign]
        self.ours: RequestResponseCycle = Answering(self.protocol, keep_alive=keep_alive)

    def uvicorns(self) -> "Sent":
        """The same, but by uvicorn's own means."""
        self.ours.__class__ = RequestResponseCycle
        return self

    async def by(self, messages: Sequence[Message]) -> tuple[bytes, bool, int, str | None]:
        """Send them as an app does, up to the first that fails."""
        try:
            for message in messages:
                await self.ours.send(message)  # type: ignore[arg-type]
        except (RuntimeError, ValueError, KeyError) as error:
            self.error = type(error).__name__
        await asyncio.sleep(0)
        return b"".join(self.transport.written), self.transport.closed, self.completed, self.error

    def _complete(self) -> None:
        self.completed += 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("messages", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_what_uvicorn_would_send(messages: Sequence[Message], keep_alive: bool, method: str) -> None:
    """The bytes, the end of the connection, and what an app is told that keeps to none of it."""
    ours = await Sent(keep_alive=keep_alive, method=method).by(messages)
    assert ours == await Sent(keep_alive=keep_alive, method=method).uvicorns().by(messages)


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("where", ["{}", "a{}b", "{}b", "a{}"])
async def test_no_header_begins_another(foreign: bytes, where: str) -> None:
    """Neither a name nor a value may end its line (RFC 9110 §5.5), whoever wrote it: nothing leaves."""  # S11
    text = where.encode().replace(b"{}", foreign)
    for field in ((b"x-from-elsewhere", text), (text, b"value")):
        for _ in range(2):  # a form that was seen before is judged no better
            written, _, _, error = await Sent().by([start([*LENGTH_2, field]), body(b"ok")])
            assert written == b""
            assert error == "RuntimeError"


@pytest.mark.parametrize("name", [b"a b", b"a:b", b"a\tb", b"a,b", b'a"'])
async def test_no_name_reads_as_a_name_and_a_value(name: bytes) -> None:
    """RFC 9110 §5.1: a name is a token."""
    assert (await Sent().by([start([*LENGTH_2, (name, b"value")]), body(b"ok")]))[0] == b""


async def test_nothing_is_sent_to_who_has_left() -> None:
    """Nor is the app at fault then."""
    sent = Sent()
    sent.ours.disconnected = True
    assert await sent.by([start(LENGTH_2), body(b"ok")]) == (b"", False, 0, None)


async def test_an_answer_waits_for_a_caller_that_reads_slowly() -> None:
    """Between head and body, too: what is held leaves first."""
    sent = Sent()
    await sent.ours.send(start(LENGTH_2))  # type: ignore[arg-type]
    sent.protocol.flow.pause_writing()
    sending = sent.ours.send(body(b"ok"))  # type: ignore[arg-type]
    sending.send(None)  # it waits
    assert b"".join(sent.transport.written).endswith(b"\r\n\r\n")
    sending.close()
    sent.protocol.flow.resume_writing()
    assert (await sent.by([body(b"ok")]))[0].endswith(b"\r\n\r\nok")
