"""Real processes for tests: started on free ports, awaited, and always ended."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import httpx2

_ROOT = Path(__file__).parent.parent
_PATIENCE = 60


@contextmanager
def sandbox_process(*args: str) -> Iterator[str]:
    """The practice provider as a process of its own, with these flags; yields its base URL.

    Raises ``RuntimeError`` with what it said on stderr when it doesn't start, or doesn't end cleanly.
    """
    command = [sys.executable, "-m", "broker.sandbox", *args]
    with (
        TemporaryFile("w+") as said,
        subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            # It prints one line once it listens; if it dies instead, the line is empty.
            line = process.stdout.readline() if process.stdout else ""
            if line:
                yield json.loads(line)["base_url"]
            process.terminate()
            status = process.wait(_PATIENCE)
        finally:
            process.kill()
        said.seek(0)
        if not line or status != 0:
            raise RuntimeError(f"the sandbox ended with status {status}: {said.read()}")


@contextmanager
def broker_process(env: Mapping[str, str], *args: str, log: Path | None = None, quick: bool = False) -> Iterator[str]:
    """``broker serve`` as by :func:`broker_to_signal`; yields its base URL."""
    with broker_to_signal(env, *args, log=log, quick=quick) as (url, _):
        yield url


@contextmanager
def broker_to_signal(
    env: Mapping[str, str], *args: str, log: Path | None = None, quick: bool = False
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``broker serve`` with these variables and flags; yields its base URL and its process once all workers are ready.

    Where ``env`` doesn't say otherwise, it has a free port, a data directory of its own and ``tests/providers.yaml``.
    What it says on stderr goes into ``log``. A ``quick`` one makes shorter pauses (:mod:`tests.quick`).
    Raises ``RuntimeError`` with what it said when it doesn't become ready, or doesn't end cleanly.
    """
    with TemporaryDirectory() as folder:
        environ = broker_environment(Path(folder), env)
        log = log or Path(folder) / "log"
        url = f"http://localhost:{environ['BROKER_PORT']}"
        module = "tests.quick" if quick else "broker.cli.main"
        command = [sys.executable, "-m", module, "serve", *args]
        # In a folder of its own: a .env of the working directory is none of the test's.
        with log.open("w") as said, subprocess.Popen(command, cwd=folder, env=environ, stderr=said) as process:
            try:
                ready = _becomes_ready(process, url, log)
                if ready:
                    yield url, process
            finally:
                # Not killed right away, also when the test has failed: its store would live on.
                process.terminate()
                status = _end(process)
        if not ready or status != 0:
            raise RuntimeError(f"the broker ended with status {status}: {log.read_text()}")


def broker_environment(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of a ``broker`` process: this process's without its broker settings, defaults, then ``env``."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("BROKER_")}
    defaults = {
        "PYTHONPATH": str(_ROOT),
        "BROKER_PORT": str(free_port()),
        "BROKER_DATA_DIR": str(folder / "data"),
        "BROKER_PROVIDERS_FILE": str(_ROOT / "tests" / "providers.yaml"),
    }
    return {**inherited, **defaults, **env}


def free_port(*, neighbours: int = 0) -> int:
    """A port of loopback that nothing listens on, nor on so many after it.

    It lies below those that the system gives to outgoing connections, which could take it before its server does.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with suppress(OSError), ExitStack() as stack:
            for offset in range(neighbours + 1):
                stack.enter_context(socket.create_server(("127.0.0.1", port + offset)))
            return port


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _becomes_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE
    with httpx2.Client(base_url=url, trust_env=False) as http:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                # It greets when all workers serve; the first of them may answer before that.
                if "broker ready" in log.read_text() and http.get("/readyz").status_code == 200:
                    return True
            except httpx2.TransportError:
                pass
            time.sleep(0.01)
    return False
