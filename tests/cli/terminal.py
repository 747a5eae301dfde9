"""A terminal on the machine where the broker runs, and its browser."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Cli, Running


@dataclass(frozen=True)
class Terminal:
    """A terminal on the machine where the broker runs."""

    running: Running
    page: Path
    """Where the browser notes how it ended."""
    _cli: Cli

    def start(self, *words: str, decision: str = "allow", **variables: str) -> "subprocess.Popen[str]":
        """Start a command; its browser takes ``decision`` at the provider."""
        environ = {
            **self.running.environ,
            "BROWSER": f"{sys.executable} -m tests.cli.browser {decision} %s",
            "BROWSER_LOG": str(self.page),
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "broker.cli.main", *words],
            env=environ,
            cwd=self.running.data_dir.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **options: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        with self.start(*words, **options) as process:
            stdout, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def json(self, *words: str) -> Any:
        """The JSON document of another command, which runs in this process."""
        result = self._cli(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return result.json

    def clients(self) -> list[dict[str, Any]]:
        """All clients of the broker."""
        items: list[dict[str, Any]] = self.json("clients", "list")["items"]
        return items

    def kept(self) -> Path:
        """Where the command remembers its own client."""
        return self.running.data_dir / "connect-client.json"


@pytest.fixture
def terminal(
    running: Running, tmp_path: Path, sandbox: httpx2.Client, run_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal next to the running broker."""
    for name, text in running.environ.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(running.data_dir.parent)
    return Terminal(running, tmp_path / "page", run_here)
