"""The naive floor: what the same Python, server and store do with no broker in them.

One Starlette route that does one ``GET`` on the store (redis-py, asyncio) and answers it as JSON: nobody is
authenticated, nothing is decrypted, nothing is written down. Served by plain uvicorn with httptools and uvloop, one
process per worker, from the store that the broker uses, by the same socket. The broker is measured as a multiple of it,
for a multiple is much the same on another machine, and a figure is not.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.processes import StoreMeter, children

_SOCKET: Final = "BENCH_FLOOR_SOCKET"
_STORE_CONNECTIONS: Final = 1_000
_KEY: Final = "bench:floor"
_TOKEN: Final = "t" * 43
"""As long as an access token of the practice provider."""


@dataclass(frozen=True)
class Floor:
    """What is running."""

    url: str
    """Of the one route."""
    workers: tuple[int, ...]
    """The process ids that answer."""


def create_app() -> Starlette:
    """The app; its store's socket stands in the environment."""
    # The client's own bound is 100, which the end of one load and the beginning of the next exceed together.
    store = Redis(unix_socket_path=os.environ[_SOCKET], decode_responses=True, max_connections=_STORE_CONNECTIONS)

    async def token(_request: Request) -> Response:
        value = await store.get(_KEY)
        return JSONResponse({"access_token": str(value)})

    return Starlette(routes=[Route("/token/{id}", token)])


@contextmanager
def floor(store: StoreMeter, store_socket: Path, *, workers: int) -> Iterator[Floor]:
    """Start it, and end it again.

    :raises RuntimeError: it did not start within ten seconds.
    """
    store.put(_KEY, _TOKEN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--factory", "bench.floor:create_app", "--port", str(port), "--workers", str(workers)]
    words += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *words], env={**os.environ, _SOCKET: str(store_socket)}
    )
    try:
        url = f"http://127.0.0.1:{port}/token/any"
        pids = _until_all_answer(url, process.pid, workers)
        yield Floor(url, tuple(pids))
    finally:
        process.terminate()
        process.wait(30)


def _until_all_answer(url: str, pid: int, workers: int) -> list[int]:
    """The processes that answer, once they do: one alone is the process itself, several are its children."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        pids = [pid] if workers == 1 else children(pid, "spawn_main")
        try:
            if len(pids) == workers and httpx2.get(url, trust_env=False).status_code == 200:
                return pids
        except httpx2.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError("the floor did not answer within ten seconds")
