"""What operators and their machines ask: is it alive, can it serve, how is it doing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.app.heart import Heart
from broker.observe import metrics
from broker.vault.opening import reasons_not_ready

_READY_FOR: Final = 1.0
"""Seconds for which a store that was found fit is not asked again."""
_EXPOSED_A_SECOND: Final = 5


class Readiness:
    """Whether the store can be served from, asked once for all who want to know.

    Anybody may ask, and no limit is counted for it: a flood costs the store one question at a time, and one a second
    while it is fit. That it is not is never remembered: who mended it sees so at once.
    """

    def __init__(self, ask: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """``ask`` finds the reasons against serving; empty = ready."""
        self._ask = ask
        self._asking: asyncio.Task[Sequence[str]] | None = None
        self._ready_until = float("-inf")

    async def reasons(self) -> Sequence[str]:
        """Why the broker is not ready; empty = it is, or was a second ago."""
        if asyncio.get_running_loop().time() < self._ready_until:
            return ()
        if self._asking is None:
            self._asking = asyncio.create_task(self._look(), name="readiness")
        # Who hangs up must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _look(self) -> Sequence[str]:
        try:
            reasons = await self._ask()
        finally:
            self._asking = None
        if not reasons:
            self._ready_until = asyncio.get_running_loop().time() + _READY_FOR
        return reasons


class Exposition:
    """The metrics as text, which takes milliseconds to write: five times a second at most, then the latest is shown."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write
        self._latest = b""
        self._second = float("-inf")
        self._written = 0

    def text(self) -> bytes:
        """The metrics of this moment, or, in a flood of questions, of a moment within the last second."""
        now = asyncio.get_running_loop().time()
        if now >= self._second + 1:
            self._second, self._written = now, 0
        if self._written < _EXPOSED_A_SECOND:
            self._latest = self._write()
            self._written += 1
        return self._latest


def operations_routes(heart: Heart) -> list[Route]:
    """``/livez``, ``/readyz`` and ``/metrics``."""
    readiness = Readiness(lambda: reasons_not_ready(heart.store, wait_replicas=heart.settings.store_wait_replicas))
    exposed = Exposition(metrics.exposition)

    async def livez(_request: Request) -> Response:
        """The process answers. Says nothing of the store: restarting the broker does not mend that."""
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        """The store is reachable, fit for tokens, and known to the keyring; or why not."""
        reasons = await readiness.reasons()
        if reasons:
            return JSONResponse({"status": "not_ready", "reasons": list(reasons)}, 503, {"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    async def exposition(_request: Request) -> Response:
        """Metrics in the Prometheus text format."""
        return Response(exposed.text(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", exposition, methods=["GET"]),
    ]
