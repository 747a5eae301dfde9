"""What an answer costs: head and body of one whose length is known are put together and leave in one piece.

uvicorn looks at every header with two expressions and writes head and body apart, each of which is a system call and a
packet. Here a head is looked at as a whole, and waits for what is sent next. Whatever is not as usual (no length, a
caller that reads slowly or has left, an app at fault) is uvicorn's to deal with: everything that it goes by is kept as
it would keep it, so it can take over at any message.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from broker.app.measure import Refused

_FIT_FOR_VALUES: Final = bytes(byte for byte in range(256) if not HEADER_VALUE_RE.match(bytes([byte])))


class Answering(RequestResponseCycle):
    """One request and the answer to it."""

    _held = b""
    """A head that waits for what is written next."""

    def __init__(self, protocol: HttpToolsProtocol, *, keep_alive: bool) -> None:
        """The request whose head ``protocol`` has read.

        :param keep_alive: the connection may outlive it.
        """
        super().__init__(
            scope=protocol.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )
        self._loop = protocol.loop

    async def send(self, message: ASGISendEvent) -> None:
        """Take a message of the app's: the head, or some of the body (ASGI HTTP 2.3)."""
        if not (self.flow.write_paused or self.disconnected):
            if not self.response_started:
                if message["type"] == "http.response.start" and self._begins(message):
                    return
            elif self._held and message["type"] == "http.response.body" and self._goes_on(message):
                return
        self._let_go()
        await super().send(message)

    def _begins(self, message: HTTPResponseStartEvent) -> bool:
        """Whether the head is one that can be held. It leaves as soon as the loop comes around, if nothing follows."""
        fields = [*self.default_headers, *message.get("headers", ())]
        if not fields or self.scope["method"] == "HEAD":
            return False
        names, values = zip(*fields, strict=True)
        if (form := _form(names)) is None:
            return False
        # A value that ended its line would begin a header, or a body, of somebody else's choice.
        if b"".join(values).translate(None, _FIT_FOR_VALUES):
            return False
        self.expected_content_length = int(values[form.length_at])
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._held = STATUS_LINE[message["status"]] + form.fields % values + end
        self.chunked_encoding = self.waiting_for_100_continue = False
        self.response_started = True
        self._loop.call_soon(self._let_go)
        return True

    def _goes_on(self, message: HTTPResponseBodyEvent) -> bool:
        """Whether this could be sent with the head: it is as long as was said, or there is more to come."""
        body, more = message.get("body", b""), message.get("more_body", False)
        left = self.expected_content_length - len(body)
        if left < 0 or (left and not more):
            return False
        head, self._held = self._held, b""
        # Not every loop gets rid of a piece that is empty.
        self.transport.writelines((head, body) if body else (head,))
        self.expected_content_length = left
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
        return True

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if not self.transport.is_closing():
                self.transport.write(held)


def refusal(refused: Refused, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An answer in the app's stead, with ``fields`` besides its own, as it is sent."""
    body = f"{refused.reason}\n".encode()
    fields = [
        *fields,
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *([(b"retry-after", b"1")] if refused.status == 503 else []),
    ]
    lines = (name + b": " + value + b"\r\n" for name, value in fields)
    return b"".join([STATUS_LINE[refused.status], *lines, b"\r\n", body])


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of a head but for their values, and which of these is the length of the body."""

    fields: bytes
    length_at: int


@lru_cache(maxsize=128)
def _form(names: tuple[bytes, ...]) -> _Form | None:
    """The form of a head with these fields, which are mostly the same; None if there is more to it than a length."""
    lowered = [name.lower() for name in names]
    unusual = any(HEADER_RE.search(name) for name in names) or {b"transfer-encoding", b"connection"} & {*lowered}
    if unusual or b"content-length" not in lowered:
        return None
    lines = (name.replace(b"%", b"%%") + b": %b\r\n" for name in lowered)
    return _Form(b"".join(lines), lowered.index(b"content-length"))
