"""How a worker process serves its app, on a socket that the supervisor has opened.

It leaves gracefully on SIGTERM and when the supervisor is gone: it takes no new connections, tells clients
that it closes the ones they have, answers what was asked, and lets the app finish its own work (the end of
its lifespan). A second signal hurries.
"""

import asyncio
import gc
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from broker.app.process import EXIT_CONFIGURATION, READY
from broker.app.protocol import LimitedProtocol
from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings
from broker.vault.redis.embedded import using

_BACKLOG = 2048
_OBJECTS_PER_LOOK = 10_000
_KEEP_ALIVE_SECONDS = 65  # load balancers keep idle connections for 60 s; let them be the ones who close
_CONNECTIONS = 4_000
_OTHER_FILES = 256  # the store, providers, the listener, what Python opens
_DRAIN_SECONDS = 0.5
_GRACE_SECONDS = 20
_CLOSE = (b"connection", b"close")


class WorkerServer(uvicorn.Server):
    """uvicorn's server with a reported start and an end that no client notices."""

    def __init__(self, config: uvicorn.Config, *, status: int, lifeline: int) -> None:
        """
        :param status: a pipe to report into when requests are served.
        :param lifeline: a pipe that ends with the parent.
        """
        super().__init__(config)
        self._status = status
        self._lifeline = lifeline
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False
        self._drained_by: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then say so."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._lifeline, self._parent_ended, self._loop)
        await super().startup(sockets=sockets)
        # What exists now stays; walking it in every full collection would hold requests up for 10 ms.
        gc.collect()
        gc.freeze()
        # What a request makes ends with it, by its reference counts; a look for cycles per 700 objects finds nothing.
        gc.set_threshold(_OBJECTS_PER_LOOK)
        gc.enable()
        with suppress(BrokenPipeError):
            os.write(self._status, READY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave; at the second signal wait for no request. Unlike uvicorn, don't die of the signal in the end."""
        if self._leaving and self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel_requests)
        self._leaving = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end. Open connections get a moment to be told that they close."""
        if await super().on_tick(counter):
            return True
        if not self._leaving:
            return False
        now = asyncio.get_running_loop().time()
        if self._drained_by is None:
            self._drained_by = now + _DRAIN_SECONDS
            for server in self.servers:
                server.close()
        if _CLOSE not in self.server_state.default_headers:  # uvicorn makes them anew every second
            # A connection closed without notice may carry the next request already (RFC 9112 §9.6).
            self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        return not self.server_state.connections or now >= self._drained_by

    def _parent_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._lifeline)
        self.handle_exit(signal.SIGTERM, None)

    def _cancel_requests(self) -> None:
        # Only the requests: what the app does in the background (a refresh) ends with its lifespan.
        self.should_exit = True
        for task in self.server_state.tasks:
            task.cancel()


def serve(app: str, *, listener: int, status: int, lifeline: int) -> int:
    """Serve until told to leave; the process's exit code. 2 = the configuration is at fault, see stderr.

    :param app: ``module:function`` that makes the app from the settings.
    :param listener: the listening socket.
    :param status: a pipe that is told when requests are served.
    :param lifeline: a pipe that ends with the parent process.
    """
    try:
        settings = load_settings()
        config = configuration(_make_app(app, settings))
    except ConfigurationError as error:
        print(*error.faults, sep="\n", file=sys.stderr)
        return EXIT_CONFIGURATION
    server = WorkerServer(config, status=status, lifeline=lifeline)
    with using(settings.data_dir) if settings.redis_url is None else nullcontext():
        server.run(sockets=[socket.socket(fileno=listener)])
    return 0


def _make_app(path: str, settings: Settings) -> ASGIApp:
    module, _, function = path.partition(":")
    create_app = cast("Callable[[Settings], ASGIApp]", getattr(importlib.import_module(module), function))
    return create_app(settings)


def room_for_connections() -> int:
    """How many connections this process can take: 4,000, or fewer if it may not open twice as many files.

    What the proxy passes on takes another connection each, to the provider.

    Raises the process's own limit as far as it may; many systems start with 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * _CONNECTIONS + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return _CONNECTIONS
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return max(1, (raised - _OTHER_FILES) // 2)


def configuration(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves ``app`` in a worker."""
    return uvicorn.Config(
        app,
        loop="broker.app.loop:WorkerLoop",
        http=LimitedProtocol,
        limit_concurrency=room_for_connections(),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
