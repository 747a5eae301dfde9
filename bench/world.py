"""A broker and a practice provider as real processes on loopback, for measuring.

Whoever measures may have a broker of their own on this machine: nothing that is started here, and no command, is given
its ``BROKER_`` variables or the ``.env`` of the working directory, so none of it comes near its store.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx2

from bench.processes import children
from bench.wrk import RoundFailed

_ROOT: Final = Path(__file__).parent.parent
_PROVIDERS = """
providers:
  practice:
    display_name: Practice provider
    type: oauth2
    issuer: {issuer}
    client_id: practice-client
    client_secret: practice-secret
    grant_types: [authorization_code, refresh_token, client_credentials]
    scopes: {{profile: See your name}}
    default_scopes: [profile]
    refresh: {{rotation: {rotation}, max_concurrent: {at_once}}}
    api: {{base_url: {issuer}/api, max_request_body: 2000000000}}
"""


@dataclass(frozen=True)
class World:
    """What is running."""

    broker_url: str
    provider_url: str
    provider_pid: int
    data_dir: Path
    pid: int
    seconds_to_ready: float
    environment: dict[str, str]

    def command(self, module: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run ``module``, the broker's commands or what stands around them, as this broker's operator would.

        :raises RoundFailed: it didn't end well; with what it said.
        """
        line = [sys.executable, "-m", module, *words]
        folder = self.environment["BROKER_DATA_DIR"]
        ended = subprocess.run(line, env=self.environment, cwd=folder, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RoundFailed(f"broker {' '.join(words)} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended

    def client(self) -> tuple[str, str]:
        """A client of the broker with every scope: its id and secret."""
        client = self.register("bench")
        return client["client_id"], client["client_secret"]

    def register(self, name: str, *options: str) -> dict[str, Any]:
        """``broker clients create`` with these options; answers what it printed."""
        scope = "connect connections:read connections:write tokens:read events:read"
        return_url = "https://bench.example/back"
        words = ("clients", "create", name, "--scope", scope, "--return-url", return_url, *options, "--json")
        client: dict[str, Any] = json.loads(self.command("broker.cli.main", *words).stdout)
        return client

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return children(self.pid, "broker.app.worker")


@contextmanager
def world(
    *, workers: int = 1, rotation: str = "revoke_on_reuse", at_once: int = 16, **settings: str
) -> Iterator[World]:
    """Start everything, and end it again.

    :param rotation: how the practice provider treats refresh tokens.
    :param at_once: token requests that it may be sent at a time.
    :param settings: more variables for the broker.
    """
    with TemporaryDirectory() as folder, _sandbox(rotation) as (provider_url, provider_pid):
        providers = Path(folder) / "providers.yaml"
        providers.write_text(_PROVIDERS.format(issuer=provider_url, rotation=rotation, at_once=at_once))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **_bare_environment(),
            "BROKER_DATA_DIR": f"{folder}/data",
            "BROKER_PROVIDERS_FILE": str(providers),
            "BROKER_PORT": str(port),
            "BROKER_WORKERS": str(workers),
            "BROKER_LOG_LEVEL": "WARNING",
            **settings,
        }
        began = time.perf_counter()
        broker = subprocess.Popen(
            [sys.executable, "-m", "broker.cli.main", "serve"], env=environment, cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            seconds = _until_ready(url, began)
            yield World(url, provider_url, provider_pid, Path(folder) / "data", broker.pid, seconds, environment)
        finally:
            broker.terminate()
            broker.wait(60)


def _bare_environment() -> dict[str, str]:
    """The shell's variables without a broker's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    # Where they are started, the packages are not.
    return {**inherited, "PYTHONPATH": str(_ROOT)}


def _until_ready(url: str, began: float) -> float:
    with httpx2.Client(trust_env=False) as http:
        while time.perf_counter() - began < 30:
            try:
                if http.get(f"{url}/readyz").status_code == 200:
                    return time.perf_counter() - began
            except httpx2.TransportError:
                pass
            time.sleep(0.005)
    raise RuntimeError("the broker did not become ready within 30 seconds")


@contextmanager
def _sandbox(rotation: str) -> Iterator[tuple[str, int]]:
    with subprocess.Popen(
        [sys.executable, "-m", "broker.sandbox", "--rotation", rotation, "--auto-consent"],
        env=_bare_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["base_url"], process.pid
        finally:
            process.terminate()
