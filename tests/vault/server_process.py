"""One store server as a process of a test's own: started, killed, stopped, asked."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from broker.vault.redis.server import find_program
from tests.processes import free_port
from tests.waiting import until

SERVICE = "tokens"
"""The name that sentinels watch a primary under."""
_SENTINEL_PERIODS = ("INFO-PERIOD", 100, "PING-PERIOD", 100, "ASK-PERIOD", 100, "PUBLISH-PERIOD", 100)
"""Milliseconds."""


class TestServer:
    """A server process that listens on a TCP port of loopback."""

    __test__ = False

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self.folder = folder
        self._options = options
        self.process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address as a single store."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *options: str, waits: bool = True) -> None:
        """Start the process, also again after :meth:`kill`; its data stays. ``waits``: until it is ready."""
        self.folder.mkdir(exist_ok=True)
        places = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "")
        # As the broker's own: what was answered is on disk, however slow that is.
        lasting = ["--appendonly", "yes", "--appendfsync", "always"]
        command = [find_program(), *places, *lasting, "--repl-diskless-sync-delay", "0", *self._options]
        self.run([*command, *options], waits=waits)

    def run(self, command: list[str], *, waits: bool = True) -> None:
        """Run the server's program."""
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        if not waits:
            return
        until(lambda: answers(self.port) or self.process.poll() is not None)
        if (status := self.process.poll()) is not None:
            raise RuntimeError(f"the server ended with status {status}")

    def client(self) -> redis.Redis:
        """A client of its own, to look and to turn things."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def info(self) -> dict[str, Any]:
        """What INFO says."""
        with self.client() as client:
            return cast("dict[str, Any]", client.info())

    def kill(self) -> None:
        """``kill -9``; also where the process is stopped or gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Let the process answer nothing until :meth:`go_on`."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End :meth:`stop`."""
        os.kill(self.process.pid, signal.SIGCONT)


class Sentinel(TestServer):
    """A sentinel that watches one server."""

    def __init__(self, folder: Path, port: int, *, watched: TestServer) -> None:
        super().__init__(folder, port)
        self._watched = watched.port

    def start(self, *options: str, waits: bool = True) -> None:
        """Start it with a configuration of its own, which it rewrites."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "sentinel.conf"
        if not config.exists():
            lines = (
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.folder}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {self._watched} 1",
                f"sentinel down-after-milliseconds {SERVICE} 500",
                f"sentinel failover-timeout {SERVICE} 1000",
            )
            config.write_text("\n".join(lines) + "\n")
        command = [find_program(), str(config), "--sentinel", *options]
        self.run(command)
        with self.client() as client:
            # It looks around every ten seconds by default, and a test can't wait for that.
            client.execute_command("SENTINEL", "DEBUG", *_SENTINEL_PERIODS)


Start = Callable[..., TestServer]


@contextmanager
def servers() -> Iterator[Start]:
    """Starts servers that end with the block."""
    with tempfile.TemporaryDirectory(prefix="valkey-", ignore_cleanup_errors=True) as folder:
        started: list[TestServer] = []

        def start(*options: str, port: int = 0, sentinel_of: TestServer | None = None) -> TestServer:
            port = port or free_port()
            place = Path(folder) / str(port)
            server = (
                TestServer(place, port, *options) if sentinel_of is None else Sentinel(place, port, watched=sentinel_of)
            )
            started.append(server)
            server.start()
            return server

        try:
            yield start
        finally:
            for server in started:
                server.kill()


def answers(port: int) -> bool:
    """Whether a server answers at ``port`` and is ready."""
    try:
        with redis.Redis(port=port, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
