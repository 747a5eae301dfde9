"""What a fault looks like on the wire. Each makes one answer, of what the right one would have been."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from broker.sandbox.behaviour import ABSENT, Fault
from broker.sandbox.errors import NO_STORE, OAuthError, error_answer
from broker.sandbox.provider import Provider

Body = Mapping[str, object]

_MEGABYTE = 1024 * 1024
_MEGABYTES = 50
_BLANKS = b" " * _MEGABYTE
_JSON = {**NO_STORE, "Content-Type": "application/json"}
_PAGE = "<!doctype html><title>Maintenance</title><h1>We'll be back soon</h1><p>access_token=none"


def claim_fault(provider: Provider, knob: str) -> Fault:
    """The fault of this request (``knob``: ``token_fault`` or ``api_fault``); one that is left less from now on."""
    fault: Fault = getattr(provider.behaviour, knob)
    if fault is Fault.NONE or provider.behaviour.faults_left == 0:
        return Fault.NONE
    provider.change(provider.behaviour.after_a_fault())
    return fault


def faulty(provider: Provider, fault: Fault, body: Body) -> Response:
    """The answer that ``fault`` makes of ``body``, the members of the right one."""
    return _ANSWERS[fault](provider, body)


def as_json(body: Body) -> str:
    """``body`` as JSON, with the text of :class:`Verbatim` values as it stands."""
    members = (
        f"{json.dumps(name)}: {value.text if isinstance(value, Verbatim) else json.dumps(value)}"
        for name, value in body.items()
    )
    return f"{{{', '.join(members)}}}"


class Verbatim:
    """Text in the place of a JSON value; it need not be JSON."""

    def __init__(self, text: str) -> None:
        self.text = text


def with_lifetime(body: Body, told: object) -> dict[str, object]:
    """``body`` with the ``expires_in`` that the knob of this name says; ``None`` changes nothing."""
    if told is None:
        return {**body}
    if told == ABSENT:
        return {name: value for name, value in body.items() if name != "expires_in"}
    if isinstance(told, dict) and told.keys() == {"json"}:
        return {**body, "expires_in": Verbatim(told["json"])}
    return {**body, "expires_in": told}


class _Silence(Response):
    """No answer at all: the caller gives up, or the connection is closed under it."""

    def __init__(self, hang_up: Callable[[tuple[str, int]], None] | None = None) -> None:
        super().__init__()
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hang_up is not None:
            self._hang_up(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


async def _trickle() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(1)


async def _huge(body: Body) -> AsyncIterator[bytes]:
    for _ in range(_MEGABYTES):
        yield _BLANKS
    yield as_json(body).encode()


@cache
def _packed_blanks() -> bytes:
    return gzip.compress(_BLANKS * _MEGABYTES)


def _gzip_bomb(body: Body) -> Response:
    # A gzip body may have several members (RFC 1952 §2.2), so the blanks need packing only once.
    packed = _packed_blanks() + gzip.compress(as_json(body).encode())
    return Response(packed, headers={**_JSON, "Content-Encoding": "gzip"})


def _json(body: Body, status: int = 200) -> Response:
    return Response(as_json(body), status_code=status, headers=_JSON)


def _refusal(code: str, status: int) -> Response:
    return error_answer(OAuthError(code, "a fault of the practice provider", status=status))


def _patience(provider: Provider) -> dict[str, str]:
    seconds = provider.behaviour.retry_after
    return {} if seconds is None else {"Retry-After": str(seconds)}


_ANSWERS: Mapping[Fault, Callable[[Provider, Body], Response]] = {
    Fault.NONE: lambda _, body: _json(body),
    Fault.HANG: lambda *_: _Silence(),
    Fault.TRICKLE: lambda *_: StreamingResponse(_trickle(), headers=_JSON),
    Fault.CUT: lambda provider, _: _Silence(provider.hang_up),
    Fault.STATUS_500: lambda *_: PlainTextResponse("something broke", 500),
    Fault.STATUS_503: lambda provider, _: PlainTextResponse("out of service", 503, _patience(provider)),
    Fault.BUSY: lambda provider, _: JSONResponse({"error": "slow_down"}, 429, _patience(provider)),
    Fault.HTML: lambda *_: HTMLResponse(_PAGE),
    Fault.ARRAY: lambda _, body: Response(f"[{as_json(body)}]", headers=_JSON),
    Fault.HUGE: lambda _, body: StreamingResponse(_huge(body), headers=_JSON),
    Fault.GZIP_BOMB: lambda _, body: _gzip_bomb(body),
    Fault.OK_FALSE: lambda *_: _json({"ok": False}),
    Fault.NO_ACCESS_TOKEN: lambda _, body: _json({name: body[name] for name in body if name != "access_token"}),
    Fault.TOKEN_WITH_400: lambda _, body: _json(body, 400),
    Fault.INVALID_GRANT: lambda *_: _refusal("invalid_grant", 400),
    Fault.INVALID_CLIENT: lambda *_: _refusal("invalid_client", 401),
}
