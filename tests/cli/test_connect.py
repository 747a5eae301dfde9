"""``broker connect`` against a running broker, the practice provider and a browser, each a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from broker.cli.connect import _check_provider
from broker.cli.remote import RemoteBroker
from broker.errors import ConfigurationError
from broker.settings import load_settings
from tests.cli.browser import visit
from tests.cli.terminal import Terminal, terminal
from tests.kinds.cases import ALICE_KEY
from tests.processes import broker_environment, broker_process

__all__ = ["terminal"]


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


def test_a_key_is_connected_from_a_terminal(terminal: Terminal) -> None:
    """Where the browser is asked for a credential, the command waits for that, and prints nothing of it."""  # K1
    result = terminal.run("connect", "practice-key", "--subject", "ann", "--json", decision=f"api_key={ALICE_KEY}")
    assert result.returncode == 0, result.stderr
    connection = json.loads(result.stdout)
    assert (connection["credential_type"], connection["account"]["name"]) == ("api_key", "alice@practice.example")
    assert "Connected" in terminal.page.read_text()
    assert ALICE_KEY not in result.stdout + result.stderr + terminal.page.read_text()


def test_a_no_on_the_form_connects_nothing(terminal: Terminal) -> None:
    """Cancel ends the command as a no at the provider does."""
    result = terminal.run("connect", "practice-key", decision="cancel")
    assert (result.returncode, result.stdout) == (1, "")
    assert "said no (access_denied)" in result.stderr
    assert "Not connected" in terminal.page.read_text()


def test_a_provider_without_a_redirect_that_is_not_ready() -> None:
    """It names no address to register: nobody is sent there."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        view = {"ready": False, "display_name": "X", "missing": ["private_key"], "redirect_uri": None}
        return httpx2.Response(200, json=view)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http, pytest.raises(ConfigurationError) as refused:
        _check_provider(RemoteBroker(http, "http://broker.example"), "x", load_settings({}, env_file=None))
    assert "private_key" in str(refused.value.faults)
    assert "redirect" not in str(refused.value.faults)


def test_a_no_at_the_provider_connects_nothing(terminal: Terminal, sandbox: httpx2.Client) -> None:
    """The command ends with 1 and the reason, the page says it too, and no code was redeemed."""
    result = terminal.run("connect", "practice", decision="deny")
    assert (result.returncode, result.stdout) == (1, "")
    assert "you or the provider said no (access_denied)" in result.stderr
    assert "Not connected" in terminal.page.read_text()
    assert terminal.json("connections", "list")["items"] == []
    assert sandbox.get("/counters").json()["token"]["authorization_code"] == {"ok": 0, "error": 0}


def test_what_the_provider_found_wrong_is_printed(terminal: Terminal) -> None:
    """Only a person's no is called one; of anything else the provider's own words reach who can mend it."""
    result = terminal.run("connect", "practice", "--scope", "bogus")
    assert result.returncode == 1
    assert "the account was not connected: invalid_scope (unknown: bogus)" in result.stderr
    assert "said no" not in result.stderr


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


@pytest.mark.parametrize(
    ("missing", "place"),
    [(["environment variable X_ID"], "environment or .env"), (["client_id"], "its entry of providers.yaml")],
)
def test_where_to_set_what_is_missing_depends_on_what_it_is(missing: list[str], place: str) -> None:
    """A variable is set in the environment, a key that the entry lacks is written into it."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, json={"ready": False, "display_name": "X", "missing": missing, "redirect_uri": "http://x"}
        )

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http, pytest.raises(ConfigurationError) as refused:
        _check_provider(RemoteBroker(http, "http://broker.example"), "x", load_settings({}, env_file=None))
    assert place in refused.value.faults[-1]


def test_a_provider_that_was_just_written_down_needs_a_restart(terminal: Terminal, tmp_path: Path) -> None:
    """The running broker doesn't know it yet; the command looks into the file and says what to do."""
    (tmp_path / "new.yaml").write_text("providers:\n  fresh: {display_name: Fresh, issuer: https://fresh.example}\n")
    result = terminal.run("connect", "fresh", BROKER_PROVIDERS_FILE=str(tmp_path / "new.yaml"))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip().endswith("has a provider 'fresh' that the running broker does not know yet: "
                                          "restart broker serve")  # fmt: skip


def test_a_broker_that_dies_meanwhile_is_noticed(tmp_path: Path, sandbox_url: str) -> None:
    """Nobody will come back from it: the command ends with 3 within some seconds, and says why."""
    environ = broker_environment(tmp_path, {"PRACTICE": sandbox_url})
    command = [sys.executable, "-m", "broker.cli.main", "connect", "practice", "--no-browser"]
    with broker_process(environ):
        process = subprocess.Popen(
            command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert "/connect/" in process.stderr.readline() + process.stderr.readline()
    with process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (3, "")
    assert "the broker stopped answering meanwhile" in stderr


def test_a_connection_is_renewed_by_the_command_that_its_refresh_names(
    terminal: Terminal, sandbox: httpx2.Client
) -> None:
    """Once the grant is gone, ``refresh`` and ``test`` name the command; it keeps the connection and its subject."""
    made = json.loads(terminal.run("connect", "practice", "--subject", "ann", "--json").stdout)
    sandbox.post("/control", json={"revoke_grants": True}).raise_for_status()
    for command in ("refresh", "test"):
        refused = terminal.run("connections", command, made["id"])
        assert refused.returncode == 1
        assert refused.stderr.strip().endswith(f"broker connect practice --connection {made['id']}")
    renewed = terminal.run("connect", "practice", "--connection", made["id"], "--json")
    assert renewed.returncode == 0, renewed.stderr
    connection = json.loads(renewed.stdout)
    assert (connection["id"], connection["subject"], connection["status"]) == (made["id"], "ann", "active")
    assert len(terminal.json("connections", "list")["items"]) == 1
    terminal.run("connections", "delete", made["id"])
    ended = terminal.run("connections", "refresh", made["id"])
    assert (ended.returncode, "broker connect" in ended.stderr) == (1, False)


@pytest.mark.parametrize("name", ["nowhere", "../connections", "a/b?c"])
def test_an_unknown_provider_names_the_known_ones(terminal: Terminal, name: str) -> None:
    """It ends with 1 and lists what there is; odd names are names, not paths."""
    result = terminal.run("connect", name)
    assert (result.returncode, result.stdout) == (1, "")
    assert "there are: practice, practice-" in result.stderr


def test_the_providers_parameters_are_given(terminal: Terminal) -> None:
    """They reach the connection; those that the provider doesn't know are refused, what is no pair is a usage error."""
    made = terminal.run("connect", "practice-realms", "--parameter", "realm=whoami", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["parameters"] == {"realm": "whoami"}
    terminal.page.unlink()
    result = terminal.run("connect", "practice", "--parameter", "subdomain=acme", "--parameter", "region=a=b")
    assert result.returncode == 2
    assert "parameters.subdomain:" in result.stderr
    assert "parameters.region:" in result.stderr
    for words in (["acme"], ["=acme"], ["a=1", "--parameter", "a=2"]):
        wrong = terminal.run("connect", "practice", "--parameter", *words)
        assert (wrong.returncode, "NAME=VALUE" in wrong.stderr) == (2, True)
    assert not terminal.page.exists()


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
    assert result.stderr.strip().endswith("start one with: broker serve, or set BROKER_URL")
    assert not (tmp_path / "data").exists()
