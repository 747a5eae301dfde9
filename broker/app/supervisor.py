"""The parent process of `serve`: it opens the socket, owns the embedded store and keeps the workers alive.

It serves no request itself. What it does, in order::

    start        listen; make the keys; launch the store; start the workers meanwhile; wait for the store
    supervise    say when all are ready; start again whatever ends, with growing pauses
    end          on SIGTERM, SIGINT or SIGHUP: no new connections, workers finish, the store goes last

A second signal while ending hurries the workers. If this process is killed, the workers see its lifeline end
and leave gracefully, and the store lives on to be adopted by the next `serve`.

Imports the standard library, the settings, the embedded store and logs without structlog; only the workers need the
rest.
"""

import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from tempfile import TemporaryDirectory

from broker.app.asking import ask
from broker.app.events import Events, pipe
from broker.app.process import EXIT_CONFIGURATION, Backoff, WorkerProcess
from broker.errors import BrokerError, ConfigurationError, StoreUnavailable
from broker.observe import parent
from broker.settings import Settings
from broker.vault.redis.data_dir import ensure_keys
from broker.vault.redis.embedded import EmbeddedStore

_APP = "broker.app.composition:create_app"
_BACKLOG = 2048
_END_SECONDS = 50.0  # a worker gives open requests 20 s, and then its refreshes 25 s
_HURRIED_END_SECONDS = 3.0
_SAME_WISH_SECONDS = 1.0  # some process managers signal a process and then its group
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXIT_FAILED = 1
_NEIGHBOUR_SECONDS = 1.0
_METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"

_log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    on_ready: Callable[[str], None] = lambda address: None,
    app: str = _APP,
) -> int:
    """Run the broker until a signal ends it. Call it from the main thread.

    :param environ: the environment of the workers, who read the settings from it again.
    :param on_ready: called once, with the address, when every worker serves; whether the store can be used is
        for ``/readyz`` to say. It must not wait.
    :param app: ``module:function`` that makes the app from the settings.
    :returns: the process's exit code: 0, 1 = the workers don't start, 2 = the configuration is at fault.
    :raises ConfigurationError: the address is taken, or the data directory can't be used.
    :raises StoreUnavailable: the embedded store doesn't come up.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(settings.host, settings.port))
        environ = dict(environ)
        if settings.workers > 1:
            environ[_METRICS_DIR] = stack.enter_context(TemporaryDirectory(prefix="broker-metrics-"))
        store = None
        if settings.redis_url is None:
            if settings.encryption_keys is None:
                ensure_keys(settings.data_dir)
            store = EmbeddedStore(settings.data_dir)
        parent.configure(settings.log_level, settings.log_format)
        return Supervisor(listener, store, environ, app=app, on_ready=on_ready).run(settings.workers)


class Supervisor:
    """Keeps the workers and the store running."""

    def __init__(
        self,
        listener: socket.socket,
        store: EmbeddedStore | None,
        environ: Mapping[str, str],
        *,
        app: str,
        on_ready: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._store = store
        self._environ = environ
        self._app = app
        self._on_ready = on_ready
        self._events = Events()
        self._lifeline = -1
        self._workers: set[WorkerProcess] = set()
        self._announced = False
        self._ending = False
        self._exit_code: int | None = None

    def run(self, workers: int) -> int:
        """Start the store and ``workers`` workers, keep them running until told to end, and end them.

        :returns: the exit code of the process.
        :raises BrokerError: the store doesn't come up.
        """
        with self._events.counting(_END_SIGNALS), pipe() as (self._lifeline, _):
            try:
                self._start(workers)
                while not self._events.signals and self._exit_code is None:
                    self._events.handle()
                    self._announce(workers)
            except StoreUnavailable:
                if not self._events.signals:  # a signal interrupts the wait for the store
                    raise
            finally:
                self._end()
        return self._exit_code or 0

    def _start(self, workers: int) -> None:
        if self._store is not None:
            self._store.launch()
        for _ in range(workers):
            self._start_worker(Backoff())
        if self._store is not None:
            self._watch_store(self._store, Backoff())

    def _announce(self, workers: int) -> None:
        if not self._announced and sum(worker.ready for worker in self._workers) == workers:
            self._announced = True
            self._on_ready(_address(self._listener))

    def _end(self) -> None:
        self._ending = True
        self._events.cancel_later()
        self._listener.close()  # a client whom no worker will serve must not wait in its queue
        self._signal_workers(signal.SIGTERM)
        heard, began = self._events.signals, time.monotonic()
        deadline = began + _END_SECONDS
        while self._workers and time.monotonic() < deadline:
            self._events.handle(deadline)
            if self._events.signals > heard:
                heard = self._events.signals
                if time.monotonic() > began + _SAME_WISH_SECONDS:
                    deadline = min(deadline, time.monotonic() + _HURRIED_END_SECONDS)
                    self._signal_workers(signal.SIGTERM)
        self._signal_workers(signal.SIGKILL)
        while self._workers:
            self._events.handle()
        if self._store is not None:
            self._store.stop()

    def _start_worker(self, backoff: Backoff) -> None:
        worker = WorkerProcess(self._app, self._listener, lifeline=self._lifeline, environ=self._environ)
        self._workers.add(worker)
        self._events.watch(worker, partial(self._hear_worker, worker, backoff))

    def _hear_worker(self, worker: WorkerProcess, backoff: Backoff) -> None:
        if worker.listen():
            return
        self._events.forget(worker)
        self._workers.remove(worker)
        exit_code = worker.wait()
        if self._ending:
            return
        if exit_code == EXIT_CONFIGURATION or not self._announced:
            # Workers that never came up won't the next time either: let the operator see why.
            self._exit_code = EXIT_CONFIGURATION if exit_code == EXIT_CONFIGURATION else _EXIT_FAILED
            _log.error("worker %d ended with exit code %d", worker.pid, exit_code)
            return
        pause = backoff.pause(worker.lived())
        _log.warning("worker %d ended with exit code %d; next in %.1f s", worker.pid, exit_code, pause)
        self._events.later(pause, partial(self._start_worker, backoff))

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.signal(number)

    def _watch_store(self, store: EmbeddedStore, backoff: Backoff) -> None:
        store.wait_ready(interrupted=lambda: self._events.signals > 0)
        self._events.watch(store, partial(self._store_ended, store, backoff, time.monotonic()))

    def _store_ended(self, store: EmbeddedStore, backoff: Backoff, started: float) -> None:
        self._events.forget(store)
        if not self._ending:
            pause = backoff.pause(time.monotonic() - started)
            _log.error("the embedded store ended; starting it again in %.1f s", pause)
            self._events.later(pause, partial(self._restart_store, store, backoff))

    def _restart_store(self, store: EmbeddedStore, backoff: Backoff) -> None:
        try:
            store.launch()
            self._watch_store(store, backoff)
        except (BrokerError, OSError) as error:
            pause = backoff.pause(0)
            _log.error("the embedded store does not start, next try in %.1f s: %s", pause, error)
            self._events.later(pause, partial(self._restart_store, store, backoff))
        else:
            _log.warning("the embedded store runs again")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = _who_listens(host, port) if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError([f"BROKER_HOST, BROKER_PORT: can't listen on {host}:{port}: {reason}"]) from error


def _who_listens(host: str, port: int) -> str:
    """Who has the address that we can't have, and what to do."""
    with suppress(TimeoutError):
        answer = ask(_url(host, port), "/livez", seconds=_NEIGHBOUR_SECONDS)
        if answer == (200, {"status": "alive"}):
            return "a broker runs there already; end it, or choose another BROKER_PORT"
    return "another program listens there; end it, or choose another BROKER_PORT"


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return _url(host, port)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
