"""Our own store, for those who configured none: who owns it, who uses it, who ends it.

`serve` owns the server for as long as it runs and ends it last. A parent that was killed leaves the server
running, and the next owner adopts it: nothing is lost and nothing is loaded again. A command uses whatever
server there is, or starts one for its own duration.

Standard library only: what `serve` imports delays its start.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault.redis.data_dir import holder, lock, make_private, sign, socket_path
from broker.vault.redis.server import Server
from broker.vault.redis.wire import Wire

_SHUTTING_DOWN_SECONDS = 15.0
_POLL_SECONDS = 0.02


def running(data_dir: Path) -> bool:
    """Whether a store server answers for ``data_dir`` now, be it ready or still loading."""
    try:
        with Wire(socket_path(data_dir)) as wire:
            wire.ask("PING")
    except OSError:
        return False
    return True


@contextmanager
def using(data_dir: Path) -> Iterator[None]:
    """Says that this process talks to the store of ``data_dir``: no command ends the server meanwhile.

    :raises StoreUnavailable: a command that is ending the server does not come to an end.
    """
    descriptor = lock(data_dir / "users", shared=True, seconds=_SHUTTING_DOWN_SECONDS)
    if descriptor is None:
        raise StoreUnavailable(f"the embedded store in {data_dir} is being shut down")
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def store_for_command(data_dir: Path) -> Iterator[str]:
    """The URL of the store of ``data_dir`` for one command: of the running server, or of one started for it.

    A server started here has no owner while the command runs: `serve` may adopt it, other commands may use
    it, and the last of them ends it.

    :raises ConfigurationError: see :meth:`EmbeddedStore.launch`.
    :raises StoreUnavailable: the server doesn't come up.
    """
    make_private(data_dir)
    store = EmbeddedStore(data_dir)
    try:
        with using(data_dir):
            store.reach()
            yield store.url
    finally:
        store.stop_if_unused()


class EmbeddedStore:
    """The store of one data directory, for the process that owns it."""

    def __init__(self, data_dir: Path, *, lock_seconds: float = 5.0) -> None:
        """:param lock_seconds: how long to wait for another owner, who may just be ending."""
        self._data_dir = data_dir.absolute()
        self._lock_seconds = lock_seconds
        self._ownership: int | None = None
        self._server = Server(self._data_dir)

    @property
    def url(self) -> str:
        """The store's address, as ``BROKER_REDIS_URL`` would hold it."""
        return self._server.url

    @property
    def pid(self) -> int | None:
        """The server's process id, once it was reached or started."""
        return self._server.pid

    def fileno(self) -> int:
        """A descriptor that becomes readable when the server ends; :meth:`launch` makes a new one."""
        return self._server.fileno()

    def start(self) -> None:
        """:meth:`launch` and :meth:`wait_ready`; after a failure nothing is owned and nothing runs."""
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Own the data directory and see that a server runs in it, an old one or a new one. Can be repeated.

        :raises ConfigurationError: another process owns the directory, it is not private, its socket belongs
            to another store, or there is no server program.
        :raises StoreUnavailable: an earlier server lives on and can't be reached.
        """
        make_private(self._data_dir)
        if not self._own(self._lock_seconds):
            raise self._owned_by_another()
        if not self._server.attach():
            self._server.spawn()

    def wait_ready(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Return when the server answers and has loaded its data, however long loading takes.

        :param interrupted: asked while waiting; true ends the wait.
        :raises StoreUnavailable: it ended, is silent for 10 s, or the wait was interrupted.
        """
        self._server.wait_ready(interrupted)

    def stop(self) -> None:
        """End the server and give the directory back. Does nothing where nothing is owned."""
        if self._ownership is not None:
            self._server.end()
            self._release()

    def reach(self) -> None:
        """Come to a server that is ready, whoever owns it; if there is none, start one, ownerless.

        :raises ConfigurationError: see :meth:`launch`.
        :raises StoreUnavailable: see :meth:`wait_ready`.
        """
        deadline = time.monotonic() + self._lock_seconds
        try:
            while not running(self._data_dir):
                if self._own(0):
                    self.start()
                elif time.monotonic() > deadline:
                    raise self._owned_by_another()
                else:
                    time.sleep(_POLL_SECONDS)
            self.wait_ready()
        finally:
            self._release()

    def stop_if_unused(self) -> None:
        """End the server unless somebody owns it or uses it."""
        if not self._own(0):
            return
        users = lock(self._data_dir / "users")
        try:
            if users is not None and self._server.attach():
                self._server.end()
        finally:
            self._release()
            if users is not None:
                os.close(users)

    def _own(self, seconds: float) -> bool:
        if self._ownership is None:
            self._ownership = lock(self._data_dir / "lock", seconds=seconds)
            if self._ownership is not None:
                sign(self._ownership, os.getpid())
        return self._ownership is not None

    def _release(self) -> None:
        self._server.detach()
        if self._ownership is not None:
            os.close(self._ownership)
            self._ownership = None

    def _owned_by_another(self) -> ConfigurationError:
        pid = holder(self._data_dir / "lock")
        advice = "end it, or give this broker another BROKER_DATA_DIR"
        return ConfigurationError([f"BROKER_DATA_DIR: {self._data_dir} is in use by process {pid}; {advice}"])
