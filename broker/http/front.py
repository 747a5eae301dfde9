"""Where every request enters: its id, the caller's address, its route, one log line, metrics, and the last resort.

Starlette's own way in is a stack of middlewares around a list of routes that are tried one after the other: a good part
of what a token fetch would cost. Here one step does what they do, for every route alike, and an endpoint answers a
``Response`` before anything of it is sent, so what fails before that is answered in one place.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from broker.http.address import client_address
from broker.http.dispatch import Dispatch
from broker.models.ids import new_id
from broker.observe import metrics

_UNMATCHED: Final = "unmatched"
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger("broker.request")
_heard: Final = logging.getLogger("broker.request")


class LastResort(Protocol):
    """Answers what no endpoint answers."""

    def unserved(self, request: Request, status: int, methods: Collection[str]) -> Response:
        """Nothing is there (404), or not for this method (405), but for others; or the endpoint says so itself."""

    def failed(self, request: Request, error: Exception) -> Response:
        """An endpoint failed: a bug of ours."""


class Front(Starlette):
    """The app. Sets ``request.state.request_id`` and ``request.state.address``; logs ``request.state.refusal``.

    What is logged and counted is the route's template, never the path: paths of connect links are secrets.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        last_resort: LastResort,
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
        lifespan: Lifespan[Any] | None = None,
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._dispatch = Dispatch(routes)
        self._last_resort = last_resort
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; anything else (the lifespan) is Starlette's."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        started = time.perf_counter()
        scope["app"] = self
        request_id = new_id("req")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        request = Request(scope, receive, send)
        state["address"] = client_address(request, self._trusted_proxies)
        routes, scope["path_params"] = self._dispatch.find(scope["path"])
        route = routes.get(scope["method"])
        template = route.path if route else next(iter(routes.values())).path if routes else _UNMATCHED
        status = 500
        try:
            try:
                if route is None:
                    raise HTTPException(405 if routes else 404)
                response: Response = await route.endpoint(request)
            except HTTPException as error:
                response = self._last_resort.unserved(request, error.status_code, routes)
            except Exception as error:
                response = self._last_resort.failed(request, error)
            status = response.status_code
            response.raw_headers.append((b"x-request-id", request_id.encode()))
            await response(scope, receive, send)
        finally:
            elapsed = time.perf_counter() - started
            metrics.answered(template, status, elapsed)
            # What went well is in the audit record where it matters; what did not is worth a line by default.
            if (status >= 400 or _heard.isEnabledFor(logging.DEBUG)) and template not in _QUIET:
                self._tell(request, template, status, elapsed)

    def _tell(self, request: Request, template: str, status: int, seconds: float) -> None:
        state: Mapping[str, Any] = request.scope["state"]
        say = log.debug if status < 400 else log.info if status < 500 else log.warning
        say(
            "request",
            request_id=state["request_id"],
            method=request.method,
            route=template,
            status=status,
            refusal=state.get("refusal"),
            milliseconds=round(seconds * 1000, 1),
            address=state["address"],
        )
