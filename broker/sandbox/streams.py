"""``/api/streams/…`` and ``/keys/{guard}/echo``: what a proxy in front of the API has to cope with.

==================  =======================================================================================
``echo/…``          any method: the request as it came, as JSON
``bytes``           ``size`` bytes; ``length=no``: without saying how many; ``cut``: after so many the
                    connection is closed
``upload``          counts and hashes the body; with ``channel``, reads it only once something was published there
``events``          server-sent events, as they are published to ``channel``
``status``          ``code``, with ``retry_after``; the body is never looked at
``redirect``        302 (or ``code``) to the address ``to``
``hostile``         headers that only the site they come from may set
``packed``          a text with ``Content-Encoding: gzip``
==================  =======================================================================================

``POST /control/events`` publishes, ``GET /control/streams`` tells how many answers and uploads are under way, and how
many bytes went out and came in: a proxy that doesn't hold back its sides, or lets go of one too late, is seen there.
"""

import asyncio
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from broker.sandbox.behaviour import Fault
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.faults import claim_fault, faulty
from broker.sandbox.guarded import admit
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider
from broker.sandbox.resources import bearer_of

EVERY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
BLOCK: Final = bytes(range(256)) * 256
"""What ``bytes`` repeats: 64 KiB."""

_SIZE_AT_MOST: Final = 16 * 2**30
_EVENT_STREAM: Final = {**NO_STORE, "Content-Type": "text/event-stream"}
_HOSTILE: Final = (
    ("Set-Cookie", "session=theirs; Path=/; HttpOnly"),
    ("Set-Cookie", "__Host-csrf=theirs; Path=/; Secure"),
    ("Clear-Site-Data", '"*"'),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Alt-Svc", 'h2="elsewhere.example:443"; ma=86400'),
    ("Strict-Transport-Security", "max-age=1; includeSubDomains"),
    ("Content-Security-Policy", "default-src *"),
    ("Content-Security-Policy-Report-Only", "default-src *; report-uri https://elsewhere.example/"),
    ("Service-Worker-Allowed", "/"),
    ("Refresh", "0; url=https://elsewhere.example/"),
    ("Report-To", '{"group": "default", "max_age": 1, "endpoints": [{"url": "https://elsewhere.example/"}]}'),
    ("NEL", '{"report_to": "default", "max_age": 1}'),
    ("Reporting-Endpoints", 'default="https://elsewhere.example/"'),
    ("Public-Key-Pins", 'pin-sha256="AAAA"; max-age=1'),
    ("Connection", "X-Named"),
    ("X-Named", "by Connection"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "Basic"),
    ("Trailer", "X-Trailer"),
    ("Broker-Connection", "con_of_somebody_else"),
    ("X-Request-Id", "theirs"),
    ("X-Kept", "a header of the API"),
)


class Streams:
    """The resources. ``api_fault`` comes before everything else; each takes an access token, of any scope."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._published: defaultdict[str, asyncio.Queue[str | None]] = defaultdict(asyncio.Queue)
        self._open = self._sent = self._received = 0

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/api/streams/echo", self.echo, methods=list(EVERY_METHOD)),
            Route("/api/streams/echo/{rest:path}", self.echo, methods=list(EVERY_METHOD)),
            Route("/keys/{guard}/echo", self.guarded_echo, methods=list(EVERY_METHOD)),
            Route("/api/streams/bytes", self.bytes, methods=["GET"]),
            Route("/api/streams/upload", self.upload, methods=["POST", "PUT"]),
            Route("/api/streams/events", self.events, methods=["GET"]),
            Route("/api/streams/status", self.status, methods=list(EVERY_METHOD)),
            Route("/api/streams/redirect", self.redirect, methods=list(EVERY_METHOD)),
            Route("/api/streams/hostile", self.hostile, methods=["GET"]),
            Route("/api/streams/packed", self.packed, methods=["GET"]),
            Route("/control/events", self.publish, methods=["POST"]),
            Route("/control/streams", self.state, methods=["GET"]),
        ]

    async def echo(self, request: Request) -> Response:
        """The request: method, target as it stood on the request line, headers in order, body."""
        return self._refused(request) or _echo(request, await read_body(request))

    async def guarded_echo(self, request: Request) -> Response:
        """The same, for those who come without OAuth."""
        self._provider.counters.asked("api")
        _, body = await admit(self._provider, request)
        return _echo(request, body)

    async def bytes(self, request: Request) -> Response:
        """Many bytes, which nobody holds in memory."""
        size, cut = _number(request, "size"), request.query_params.get("cut")
        stops = size if cut is None else min(size, _number(request, "cut"))
        headers = {} if request.query_params.get("length") == "no" else {"Content-Length": str(size)}

        async def blocks() -> AsyncIterator[bytes]:
            left = stops
            while left:
                part = BLOCK[: min(left, len(BLOCK))]
                yield part
                self._sent += len(part)
                left -= len(part)
            if stops < size:
                self._provider.hang_up(request.scope["client"])

        return self._refused(request) or _Counted(self, blocks(), headers)

    async def upload(self, request: Request) -> Response:
        """What arrived, and its hash."""
        if refused := self._refused(request):
            return refused
        if channel := request.query_params.get("channel"):
            await self._published[channel].get()
        received, sha256 = 0, hashlib.sha256()
        self.begun()
        try:
            async for part in request.stream():
                received += len(part)
                self._received += len(part)
                sha256.update(part)
        except ClientDisconnect:
            return Response()
        finally:
            self.ended()
        return JSONResponse({"received": received, "sha256": sha256.hexdigest()}, headers=NO_STORE)

    async def events(self, request: Request) -> Response:
        """Says ``: open`` at once, so that whoever waits for the beginning need not wait for an event."""
        queue = self._published[request.query_params.get("channel", "")]

        async def parts() -> AsyncIterator[bytes]:
            yield b": open\n\n"
            while (data := await queue.get()) is not None:
                yield f"data: {data}\n\n".encode()

        return self._refused(request) or _Counted(self, parts(), _EVENT_STREAM)

    async def status(self, request: Request) -> Response:
        """This status."""
        headers = {"Retry-After": request.query_params.get("retry_after", "0")}
        return self._refused(request) or PlainTextResponse("", _number(request, "code"), headers)

    async def redirect(self, request: Request) -> Response:
        """Elsewhere."""
        code = _number(request, "code") if "code" in request.query_params else 302
        return self._refused(request) or Response(
            status_code=code, headers={"Location": request.query_params.get("to", "/")}
        )

    async def hostile(self, request: Request) -> Response:
        """A page and headers that mean something to whoever shows it in a browser."""
        answer = self._refused(request) or HTMLResponse("<script>document.title = 'ran'</script>")
        for name, value in _HOSTILE:
            answer.headers.append(name, value)
        return answer

    async def packed(self, request: Request) -> Response:
        """Packed, whether it was asked for or not."""
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
        return self._refused(request) or Response(gzip.compress(b"unpacked " * 1000, mtime=0), headers=headers)

    async def publish(self, request: Request) -> Response:
        """``{"channel": "x", "data": "…"}``; ``null`` ends the channel's stream."""
        if request.headers.get("content-type") != "application/json":
            raise OAuthError("invalid_request", "the body must be application/json", status=415)
        asked = json.loads(await read_body(request))
        self._published[asked["channel"]].put_nowait(asked["data"])
        return await self.state(request)

    async def state(self, _request: Request) -> Response:
        """Answers and uploads under way, bytes sent by ``bytes``, bytes received by ``upload``."""
        state = {"open": self._open, "sent": self._sent, "received": self._received}
        return JSONResponse(state, headers=NO_STORE)

    def begun(self) -> None:
        """One more answer or upload is under way."""
        self._open += 1

    def ended(self) -> None:
        """One less."""
        self._open -= 1

    def _refused(self, request: Request) -> Response | None:
        self._provider.counters.asked("api")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, {})
        bearer_of(self._provider, request)
        return None


class _Counted(StreamingResponse):
    """A stream that is counted as long as somebody listens."""

    def __init__(self, streams: Streams, parts: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(parts, headers=headers)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.begun()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.ended()


def _echo(request: Request, body: bytes) -> Response:
    target, query = request.scope["raw_path"], request.scope["query_string"]
    seen = {
        "method": request.method,
        "target": (target + b"?" + query if query else target).decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
        "length": len(body),
        "body": body.decode("latin-1"),
    }
    return JSONResponse(seen, headers=NO_STORE)


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit()) or int(text[:12]) > _SIZE_AT_MOST:
        raise OAuthError("invalid_request", f"{name}: must be a whole number, {_SIZE_AT_MOST} at most")
    return int(text)
