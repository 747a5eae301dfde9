"""``broker connect`` against a running broker, the practice provider and a browser, each a process of its own."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.browser import visit
from tests.cli.conftest import Cli, Running
from tests.processes import broker_environment


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


def test_an_account_is_connected_from_a_terminal(terminal: Terminal, sandbox: httpx2.Client) -> None:
    """The browser opens, the person approves, the connection is printed; the page says so too, and only then."""
    result = terminal.run("connect", "practice", "--subject", "ann", "--scope", "profile", "--json")
    assert result.returncode == 0, result.stderr
    connection = json.loads(result.stdout)
    assert connection["account"]["name"] == "alice@practice.example"
    assert (connection["subject"], connection["scopes"]) == ("ann", ["profile"])
    status, _, page = terminal.page.read_text().partition("\n")
    assert status == "200"
    assert "Connected" in page
    assert terminal.json("connections", "list")["items"] == [connection]
    assert sandbox.get("/counters").json()["token"]["authorization_code"] == {"ok": 1, "error": 0}


def test_its_own_client_can_do_little_and_is_made_once(terminal: Terminal) -> None:
    """It has two scopes and a return address of this machine; its secret stays in a file of this user alone."""
    for _ in range(2):
        assert terminal.run("connect", "practice").returncode == 0
    (client,) = terminal.clients()
    assert client["name"] == "broker connect"
    assert client["scope"] == "connect connections:read"
    assert client["return_urls"] == ["http://127.0.0.1/callback"]
    assert terminal.kept().stat().st_mode & 0o777 == 0o600
    assert json.loads(terminal.kept().read_text())["client_id"] == client["client_id"]


def test_a_client_that_the_broker_forgot_is_made_again(terminal: Terminal) -> None:
    """After its client was deleted, the command makes another one; a broken file counts as none."""
    terminal.run("connect", "practice")
    (first,) = terminal.clients()
    terminal.json("clients", "delete", first["client_id"])
    assert terminal.run("connect", "practice").returncode == 0
    (second,) = terminal.clients()
    assert second["client_id"] != first["client_id"]
    terminal.kept().write_text("[]")
    assert terminal.run("connect", "practice").returncode == 0
    assert len(terminal.clients()) == 2


def test_a_client_of_the_developers_own_is_used_instead(terminal: Terminal) -> None:
    """With BROKER_CLIENT_ID and BROKER_CLIENT_SECRET no client is made; one without the other is a fault."""
    own = terminal.json("clients", "create", "mine", "--scope", "connect", "--return-url", "http://127.0.0.1/callback")
    variables = {"BROKER_CLIENT_ID": own["client_id"], "BROKER_CLIENT_SECRET": own["client_secret"]}
    assert terminal.run("connect", "practice", **variables).returncode == 0
    assert [client["name"] for client in terminal.clients()] == ["mine"]
    assert not terminal.kept().exists()
    half = terminal.run("connect", "practice", BROKER_CLIENT_ID=own["client_id"])
    assert half.returncode == 2
    wrong = terminal.run("connect", "practice", **{**variables, "BROKER_CLIENT_SECRET": "canary-secret"})
    assert wrong.returncode == 1
    assert "canary-secret" not in wrong.stderr


def test_a_no_at_the_provider_connects_nothing(terminal: Terminal, sandbox: httpx2.Client) -> None:
    """The command ends with 1 and the reason, the page says it too, and no code was redeemed."""
    result = terminal.run("connect", "practice", decision="deny")
    assert (result.returncode, result.stdout) == (1, "")
    assert "access_denied" in result.stderr
    assert "Not connected" in terminal.page.read_text()
    assert terminal.json("connections", "list")["items"] == []
    assert sandbox.get("/counters").json()["token"]["authorization_code"] == {"ok": 0, "error": 0}


def test_without_a_browser_the_link_is_enough(terminal: Terminal) -> None:
    """``--no-browser`` opens none; whoever follows the printed link connects, and the terminal says what is next."""
    with terminal.start("connect", "practice", "--no-browser") as process:
        assert process.stderr is not None
        (link,) = [
            line.strip() for line in (process.stderr.readline(), process.stderr.readline()) if "/connect/" in line
        ]
        assert visit(link, "allow").status_code == 200
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert not terminal.page.exists()
    assert "alice@practice.example" in stdout
    assert "broker connections list" in stdout
    assert "subject     local:" in stdout


def test_ctrl_c_ends_the_waiting(terminal: Terminal) -> None:
    """Ctrl-C while waiting ends with 130, without a traceback, and connects nothing."""
    with terminal.start("connect", "practice", "--no-browser") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_a_provider_that_is_not_ready_says_what_to_do(terminal: Terminal, sandbox: httpx2.Client) -> None:
    """It names the variable to set and the redirect URI to register, ends with 2, and opens no browser."""
    result = terminal.run("connect", "unconfigured")
    assert (result.returncode, result.stdout) == (2, "")
    assert "NOT_SET_ANYWHERE" in result.stderr
    assert f"{terminal.running.url}/callback/unconfigured" in result.stderr
    assert not terminal.page.exists()
    assert sandbox.get("/counters").json()["authorize"] == 0


@pytest.mark.parametrize("name", ["nowhere", "../connections", "a/b?c"])
def test_an_unknown_provider_names_the_known_ones(terminal: Terminal, name: str) -> None:
    """It ends with 1 and lists what there is; odd names are names, not paths."""
    result = terminal.run("connect", name)
    assert (result.returncode, result.stdout) == (1, "")
    assert "practice, practice-graceful" in result.stderr


def test_a_scope_that_cannot_be_asked_for_is_told(terminal: Terminal) -> None:
    """What the broker refuses comes out with its fields, exit 2; no browser opens."""
    result = terminal.run("connect", "practice", "--scope", "two words")
    assert result.returncode == 2
    assert "scopes:" in result.stderr
    assert not terminal.page.exists()


def test_without_a_broker_it_says_how_to_start_one(tmp_path: Path) -> None:
    """With nothing at the address it ends with 3, and neither store, keys nor client are made."""
    environ = broker_environment(tmp_path, {})
    command = [sys.executable, "-m", "broker.cli.main", "connect", "practice"]
    result = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.strip().endswith("start one with: broker serve")
    assert not (tmp_path / "data").exists()


def test_a_broker_with_another_store_is_told_apart(terminal: Terminal, tmp_path: Path) -> None:
    """Where the broker at BROKER_URL doesn't know this machine's clients, it says which variables to set."""
    elsewhere = {"BROKER_DATA_DIR": str(tmp_path / "other"), "BROKER_URL": terminal.running.url}
    result = terminal.run("connect", "practice", **elsewhere)
    assert result.returncode == 2
    assert "BROKER_CLIENT_ID" in result.stderr
    assert terminal.clients() == []
