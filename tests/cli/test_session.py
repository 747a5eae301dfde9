"""The store for the length of a command."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from broker.vault.redis.embedded import running as store_runs
from tests.cli.conftest import Running
from tests.processes import broker_environment

CREATE = ("clients", "create", "x", "--scope", "connect", "--json")


def broker(environ: Mapping[str, str], *words: str) -> Any:
    """The JSON document that a command prints as a process of its own."""
    command = [sys.executable, "-m", "broker.cli.main", *words]
    cwd = Path(environ["BROKER_DATA_DIR"]).parent
    return json.loads(subprocess.check_output(command, env=environ, cwd=cwd, text=True))


def test_a_command_starts_the_embedded_store_and_ends_it(tmp_path: Path) -> None:
    """Without a running broker a command has the store to itself; what it wrote is there for the next one."""
    environ = broker_environment(tmp_path, {})
    made = broker(environ, *CREATE)
    assert not store_runs(tmp_path / "data")
    (found,) = broker(environ, "clients", "list", "--json")["items"]
    assert found["client_id"] == made["client_id"]
    assert not store_runs(tmp_path / "data")


def test_a_command_uses_the_store_of_the_running_broker(running: Running) -> None:
    """A client made while the broker runs is known to it at once, and the store goes on running."""
    made = broker(running.environ, *CREATE)
    answer = httpx2.post(
        f"{running.url}/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(made["client_id"], made["client_secret"]),
        trust_env=False,
    )
    assert answer.status_code == 200
    assert store_runs(running.data_dir)
