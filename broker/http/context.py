"""Around every request: its id, the caller's address, one log line, metrics, and an answer if all else fails."""

import ipaddress
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.models.ids import new_id
from broker.observe import metrics

_UNMATCHED: Final = "unmatched"
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger("broker.request")


class RequestContext:
    """ASGI middleware. Sets ``request.state.request_id`` and ``request.state.address``; logs ``request.state.refusal``.

    What is logged and counted is the route's template, never the path: paths of connect links are secrets.
    """

    def __init__(self, app: ASGIApp, *, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of any kind; only HTTP requests have a context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id("req")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["address"] = client_address(Request(scope), self._trusted_proxies)
        status = 500
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            elapsed = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            metrics.requests.labels(route, str(status)).inc()
            metrics.request_seconds.labels(route).observe(elapsed)
            if route not in _QUIET:
                # What went well is in the audit record where it matters; what did not is worth a line by default.
                say = log.debug if status < 400 else log.info if status < 500 else log.warning
                say(
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    route=route,
                    status=status,
                    refusal=state.get("refusal"),
                    milliseconds=round(elapsed * 1000, 1),
                    address=state["address"],
                )


def client_address(request: Request, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address that made the request: the last one in ``X-Forwarded-For`` that no trusted proxy vouches for.

    Without trusted proxies the header is ignored: anybody can write it.
    """
    address = request.client.host if request.client else "unknown"
    if not trusted_proxies:
        return address
    forwarded = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    while forwarded and _within(address, trusted_proxies):
        address = forwarded.pop()
    # A proxy that passes on what it was sent passes on anything; people read this, and limits count by it.
    return address if _is_address(address) else "unknown"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
