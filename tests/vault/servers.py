"""Store servers with options of their own, for what the embedded one never does."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from broker.vault.redis.server import find_program


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[str]:
    """A server with these options (``--appendonly yes``, …); yields the URL of its unix socket."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        path = Path(folder) / "socket"
        command = [find_program(), "--port", str(port), "--unixsocket", str(path), "--dir", folder, "--save", ""]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                _await(path, process)
                yield f"unix://{path}"
            finally:
                process.kill()


@contextmanager
def cluster_node() -> Iterator[str]:
    """A Cluster of one node that has every slot; yields the URL of its unix socket."""
    port, bus_port = _free_ports(2)
    options = (
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        str(bus_port),
        "--bind",
        "127.0.0.1",
        "--appendonly",
        "yes",
    )
    with valkey(*options, port=port) as url, redis.Redis.from_url(url) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while node.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            time.sleep(0.01)
        yield url


def _await(path: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with redis.Redis(unix_socket_path=str(path)) as client:
                client.ping()
        except redis.ConnectionError:
            time.sleep(0.005)
        else:
            return
    raise RuntimeError(f"the server ended with status {process.returncode}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [taken.getsockname()[1] for taken in sockets]
