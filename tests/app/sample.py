"""A small app for the supervisor's tests: it tells what its worker is, takes its time, and writes when it ends."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio.client import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from broker.errors import ConfigurationError
from broker.settings import Settings
from broker.vault.redis.data_dir import socket_path


def create_app(settings: Settings) -> Starlette:
    """``/`` says who serves; ``/slow`` answers 0.3 s after ``/slow`` was counted; the store hears of each end."""
    path = str(socket_path(settings.data_dir))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        async with Redis(unix_socket_path=path) as store:
            await store.sadd("ended", os.getpid())

    async def who(_: Request) -> JSONResponse:
        return JSONResponse({"pid": os.getpid(), "metrics": os.environ.get("PROMETHEUS_MULTIPROC_DIR")})

    async def slow(request: Request) -> JSONResponse:
        async with Redis(unix_socket_path=path) as store:
            await store.incr("asked")
        await asyncio.sleep(float(request.query_params["seconds"]))
        return JSONResponse({"pid": os.getpid()})

    return Starlette(routes=[Route("/", who), Route("/slow", slow)], lifespan=lifespan)


def misconfigured(settings: Settings) -> Starlette:
    """Finds fault with its configuration."""
    raise ConfigurationError([f"SAMPLE: a fault with {settings.workers} worker"])


def broken(settings: Settings) -> Starlette:
    """Fails in a way that nobody foresaw."""
    raise ZeroDivisionError


def external(settings: Settings) -> Starlette:
    """Needs no store."""
    return Starlette(routes=[Route("/", lambda _: JSONResponse(settings.redis_url is not None))])
