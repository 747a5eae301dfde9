"""An app that tells what its worker has loaded, with everything of the real one among it."""

import sys
from types import ModuleType

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import broker.app.composition  # noqa: F401 - what it brings along is what is asked for
from broker.settings import Settings


def create_app(_settings: Settings) -> Starlette:
    """``/`` tells the names of all modules."""

    async def modules(_: Request) -> JSONResponse:
        # What is left out stands there, too, as nothing.
        return JSONResponse([name for name in sys.modules if isinstance(sys.modules[name], ModuleType)])

    return Starlette(routes=[Route("/", modules)])
