"""HTTP/1.1 on one connection, as uvicorn speaks it, within limits that hold before an app sees anything.

* a head: 32 KiB, 100 fields, an address of 8 KiB, complete within 20 s; exactly one ``Host`` (RFC 9112 §3.2);
* around a body: trailers (dropped, RFC 9110 §6.5.1) and chunk extensions, however long they go on. The body itself is
  bounded by whoever reads it (``http/reading``); what nobody reads is let in up to 64 KiB and then waits at the sender;
* after an answer: the rest of a body that the answer did not wait for, 5 s; an idle connection, uvicorn's keep-alive;
* a caller that takes no answers: 30 s, then its connection is cut;
* requests sent ahead of answers: 16 on a connection; and connections on a worker.

An idle connection holds nothing of its last request. A fault in a request never overtakes the answer to an earlier one.
"""

import asyncio
from typing import Any, Final

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from broker.app.answering import Answering, refusal
from broker.app.measure import Measure, Refused, pieces
from broker.app.target import parts_of
from broker.observe import metrics

_AHEAD_AT_MOST: Final = 16
_HEAD_SECONDS: Final = 20.0
_REST_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a caller. ``limit_concurrency`` of the configuration is how many a worker takes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections_at_most = config.limit_concurrency
        # uvicorn would refuse the requests of those who are connected; here the ones who come too late are refused.
        self.limit_concurrency = None
        self._seen = Measure()
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered, while later ones wait in line behind it."""
        self._deaf = False
        self._idle_since: float | None = None
        """When the last answer was complete (the loop's time), while nothing has come since."""
        self._due: asyncio.TimerHandle | None = None
        self._write_due: asyncio.TimerHandle | None = None

    # What the transport says.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects. If there is room, they get a while to say what they want."""
        super().connection_made(transport)
        if self._connections_at_most is None or len(self.connections) <= self._connections_at_most:
            self._expect_within(_HEAD_SECONDS)
            return
        # No farewell: those who are refused must not become many.
        self._deaf = True
        self._say(Refused(503, "this worker has as many connections as it takes"))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and its timers with it."""
        self._expect_nothing()
        # uvicorn tells the latest request, which may be one that still waits in line. Nobody waits for any of them now.
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, in pieces, so that what never becomes a whole header is noticed, too."""
        if self._deaf:
            return
        self._idle_since = None
        for piece in pieces(data):
            try:
                self.parser.feed_data(piece)
                self._seen.piece(len(piece))
            except httptools.HttpParserUpgrade:
                # No other protocol is spoken here. What follows would be of that one: it is not taken for a request.
                self._finish()
                return
            except (httptools.HttpParserError, Refused):
                self._refuse(self._seen.refused)
                return
        if self._unanswered is None and not self._seen.in_body:
            self._expect_within(_HEAD_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """Hang up if nothing came for as long as an idle connection is kept.

        One timer stands while requests come and go, and looks again when it is over: one for each would cost as much
        as to parse the request.
        """
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._keep_alive_for(left)
        else:
            self._hang_up()

    def pause_writing(self) -> None:
        """The caller takes in less than it is sent: it gets a while."""
        super().pause_writing()
        self._wait_for_writes()

    def resume_writing(self) -> None:
        """It has taken in enough."""
        super().resume_writing()
        if self._write_due is not None:
            self._write_due.cancel()
            self._write_due = None

    # What the parser says.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._seen.begins()

    def on_url(self, url: bytes) -> None:
        """The address of the request, or more of it."""
        self.url += url
        self._seen.address(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header field; or one of a trailer, which uvicorn would add to the headers that the app looks at."""
        if self._seen.in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there: the app gets the request, or it queues up behind one that is being answered.

        As uvicorn does it, but for upgrades, which there are none of here, and its own limit.
        """
        version = self.parser.get_http_version()
        self._seen.check_head(self.headers, version, ahead=len(self.pipeline) >= _AHEAD_AT_MOST)
        scope = self.scope
        scope["method"], scope["http_version"] = self.parser.get_method().decode("ascii"), version
        scope["path"], scope["raw_path"], scope["query_string"] = parts_of(self.url)
        before = self._unanswered
        cycle = self.cycle = Answering(self, keep_alive=version != "1.0" and self.parser.should_keep_alive())
        if before is None:
            self._answering = cycle
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        self._seen.head_ends()
        self._expect_nothing()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._seen.content(len(body))
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request has been sent in full."""
        self._seen.ends()
        self._expect_nothing()
        if self.cycle.response_complete:
            self._forget_what_was_answered()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # What the app has done.

    def on_response_complete(self) -> None:
        """An answer is on its way; the next request may be due, or the rest of this one."""
        self.server_state.total_requests += 1
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self._wait_for_writes()
        else:
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            else:
                self._idle_since = self.loop.time()
                if self.timeout_keep_alive_task is None:
                    self._keep_alive_for(self.timeout_keep_alive)
                self._wait_for_the_rest()
        self._forget_what_was_answered()

    def _wait_for_the_rest(self) -> None:
        if self._seen.in_body and self.expect_100_continue:
            # It may never send the body that it asked about, and what it sends next would be taken for that.
            self._take_leave()
        elif self._seen.in_body:
            self._expect_within(_REST_SECONDS)

    @property
    def _unanswered(self) -> RequestResponseCycle | None:
        """The latest request that the app was given, while it has not been answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _forget_what_was_answered(self) -> None:
        if self._unanswered is None and not self._seen.in_body and not self._seen.in_head:
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]
            self.url = b""

    # Endings.

    def _refuse(self, refused: Refused) -> None:
        """Read no more. The answer, if there is one, comes after those to earlier requests."""
        cycle = self._unanswered
        if cycle is None and not self._seen.in_body:
            self._say(refused)
            self._take_leave()
        elif cycle is None or (self._seen.in_body and (cycle.response_started or self.pipeline)):
            # It has its answer, or half of it, or would have this one before another's.
            self._hang_up()
        elif not self._seen.in_body:
            self._finish()
        else:
            # Nothing that the app still sends may follow this.
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(refused)
            self._take_leave()

    def _finish(self) -> None:
        """Read no more, and close after the answers that are due, if any are."""
        if (cycle := self._unanswered) is None:
            self._hang_up()
        else:
            self._deaf = True
            cycle.keep_alive = False

    def _say(self, refused: Refused) -> None:
        """Answer in the app's stead."""
        metrics.requests.labels("unread", str(refused.status)).inc()
        log.info(
            "request.refused", status=refused.status, refusal=refused.reason, peer=(self.client or ("unknown",))[0]
        )
        self.transport.write(refusal(refused, self.server_state.default_headers))

    def _take_leave(self) -> None:
        """Say nothing more. Who is still sending gets a moment to read the answer, which a reset would destroy."""
        self._deaf = True
        self.transport.write_eof()
        self._expect_nothing()
        self._expect_within(_FAREWELL_SECONDS)

    def _hang_up(self) -> None:
        """Close; and don't wait for who takes nothing in."""
        self._deaf = True
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    # Timers.

    def _keep_alive_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _expect_within(self, seconds: float) -> None:
        """Hang up unless what is due comes within so many seconds. What was due before stays due."""
        if self._due is None and not self.transport.is_closing():
            self._due = self.loop.call_later(seconds, self._hang_up)

    def _expect_nothing(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _wait_for_writes(self) -> None:
        if self._write_due is None:
            self._write_due = self.loop.call_later(_WRITE_SECONDS, self.transport.abort)
