"""What operators and their machines ask: is it alive, can it serve, how is it doing."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from broker.app.heart import Heart
from broker.observe import metrics
from broker.vault.opening import reasons_not_ready


def operations_routes(heart: Heart) -> list[BaseRoute]:
    """``/livez``, ``/readyz`` and ``/metrics``."""

    async def livez(_request: Request) -> Response:
        """The process answers. Says nothing of the store: restarting the broker does not mend that."""
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        """The store is reachable, fit for tokens, and known to the keyring; or why not."""
        reasons = await reasons_not_ready(heart.store, wait_replicas=heart.settings.store_wait_replicas)
        if reasons:
            return JSONResponse({"status": "not_ready", "reasons": reasons}, 503, {"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    async def exposition(_request: Request) -> Response:
        """Metrics in the Prometheus text format."""
        return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", exposition, methods=["GET"]),
    ]
