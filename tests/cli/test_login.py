"""``broker login`` against a running broker, with a person who has a browser elsewhere."""

import json
import signal
from pathlib import Path

import httpx2
import pytest

from tests.cli.headless import Home, approve, decline, line_of
from tests.cli.remote_broker import Remote, given, home, remote, serving
from tests.cli.stub import stub_broker

__all__ = ["home", "remote", "serving"]


def test_a_machine_logs_in_with_a_code(home: Home, remote: Remote) -> None:
    """The codes come first, on one line; after the person has agreed another line says who it is. It is kept."""
    with home.logging_in("practice", "--device-name", "build-box", "--scope", "messages.read") as (codes, process):
        assert sorted(codes) == ["expires_in", "user_code", "verification_uri", "verification_uri_complete"]
        assert codes["verification_uri"] == f"{remote.url}/device"
        page = httpx2.get(codes["verification_uri_complete"], trust_env=False).text
        assert "build-box" in page
        assert "Read your messages" in page
        approve(codes["verification_uri_complete"])
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    (line,) = stdout.splitlines()
    login = json.loads(line)
    assert login["account"]["name"] == "alice@practice.example"
    assert (login["provider"], login["scopes"], login["broker"]) == ("practice", ["messages.read"], remote.url)
    (kept,) = home.kept()
    assert kept["connection_id"] == login["connection_id"]
    assert (kept["git_hosts"], kept["git_username"]) == (["git.practice.example"], "x-access-token")
    assert home.logins.stat().st_mode & 0o777 == 0o600
    assert home.run("token", "practice").stdout.startswith("pat_")


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_where_the_provider_has_a_device_grant_its_own_page_takes_the_code(
    home: Home, sandbox: httpx2.Client, decision: str
) -> None:
    """The code and the address are the provider's, and what its person decides there counts here."""
    sandbox.post("/control", json={"device_interval": 1}).raise_for_status()
    with home.logging_in("practice-native") as (codes, process):
        assert codes["verification_uri"] == f"{str(sandbox.base_url).rstrip('/')}/device"
        sandbox.post("/control", json={f"{decision}_device": codes["user_code"]}).raise_for_status()
        stdout, stderr = process.communicate(timeout=60)
    if decision == "approve":
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["account"]["name"] == "alice@practice.example"
        assert home.run("token", "practice-native").stdout.startswith("pat_")
    else:
        assert (process.returncode, stdout) == (5, "")


def test_without_json_a_person_reads_what_to_do_and_what_next(home: Home) -> None:
    """Where stderr is no terminal: plain lines, code and address each where a script could find them."""
    with home.start("login", "practice") as process:
        lines = [line_of(process.stderr) for _ in range(3)]
        link = lines[2].partition(": ")[2].strip()
        assert link.endswith(lines[1].strip())
        approve(link)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout.splitlines()[0].split() == ["logged", "in", "as", "alice@practice.example"]
    for step in ("broker token practice", "broker exec practice -- ", "credential.https://git.practice.example.helper"):
        assert step in stderr
    assert "pat_" not in stdout + stderr
    assert "brt_" not in stdout + stderr


@pytest.mark.parametrize(("words", "opens"), [((), True), (("--no-browser",), False), (("--json",), False)])
def test_a_browser_is_opened_unless_told_otherwise(home: Home, words: tuple[str, ...], opens: bool) -> None:
    """At the page with the code in it; a program that asks for JSON decides for itself."""
    noted = home.path / "opened"
    browser = home.path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {noted}.part && mv {noted}.part {noted}\n')
    browser.chmod(0o700)
    with home.start("login", "practice", *words, BROWSER=f"{browser} %s") as process:
        line_of(process.stdout if "--json" in words else process.stderr)
        if opens:
            link = [line_of(process.stderr) for _ in range(2)][1].partition(": ")[2]
            assert "Waiting" in [line_of(process.stderr) for _ in range(2)][1]
            assert noted.read_text() == link
        elif "--json" not in words:
            assert "Waiting" in [line_of(process.stderr) for _ in range(4)][3]
        process.kill()
    assert noted.exists() is opens


def test_a_no_ends_it(home: Home) -> None:
    """Declined on the broker's page: exit code 5, nothing is kept, nobody is connected."""
    with home.logging_in("practice") as (codes, process):
        decline(codes["verification_uri_complete"])
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (5, "")
    assert "the login was declined" in stderr
    assert not home.logins.exists()


def test_ctrl_c_ends_the_waiting(home: Home) -> None:
    """With 130 and without a word."""
    with home.logging_in("practice") as (_, process):
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_a_broker_that_restarts_meanwhile_is_waited_for(home: Home) -> None:
    """No answer, then 503, then the tokens: the login comes about all the same."""
    with stub_broker() as stub:
        codes = {"device_code": "d", "user_code": "X-Y", "verification_uri": "https://b.example/device"}
        stub.answers = {
            "/oauth/device_authorization": [(200, {**codes, "expires_in": 900, "interval": 0.1})],
            "/oauth/token": [
                (0, {}),
                (503, {}),
                (200, {"access_token": "bat_1", "refresh_token": "brt_1", "expires_in": 900, "connection_id": "con_1"}),
            ],
        }
        result = home.run("login", "practice", "--json", BROKER_URL=stub.url)
    assert result.returncode == 0
    assert "logged in; the broker doesn't say as whom" in result.stderr
    assert home.kept()[0]["connection_id"] == "con_1"


def test_a_login_that_can_not_be_kept_is_given_back(home: Home) -> None:
    """The place for it is looked at first; where keeping it fails all the same, the broker is told."""
    home.logins.parent.parent.mkdir()
    home.logins.parent.write_text("")
    with stub_broker() as stub:
        assert home.run("login", "practice", BROKER_URL=stub.url).returncode == 2
        assert stub.asked == []
        home.logins.parent.unlink()
        home.logins.mkdir(parents=True)
        codes = {"device_code": "d", "user_code": "X-Y", "verification_uri": "https://b.example/device"}
        tokens = {"access_token": "bat_1", "refresh_token": "brt_1", "expires_in": 900, "connection_id": "con_1"}
        stub.answers = {
            "/oauth/device_authorization": [(200, {**codes, "expires_in": 900, "interval": 0.1})],
            "/oauth/token": [(200, tokens)],
            "/oauth/revoke": [(200, {})],
        }
        result = home.run("login", "practice", BROKER_URL=stub.url)
        assert (result.returncode, result.stdout) == (2, "")
        assert [body["token"] for body in stub.bodies("/oauth/revoke")] == ["brt_1"]


def test_what_a_provider_says_does_not_steer_the_terminal(home: Home) -> None:
    """A user code, an address and a reason with control characters are shown without them."""
    with stub_broker() as stub:
        codes = {"device_code": "d", "user_code": "A\x1b[2J", "verification_uri": "https://\x07b.example"}
        stub.answers = {
            "/oauth/device_authorization": [(200, {**codes, "expires_in": 900, "interval": 0.1})],
            "/oauth/token": [(400, {"error": "access_denied", "error_description": "no\x1b]0;x\x07"})],
        }
        result = home.run("login", "practice", BROKER_URL=stub.url)
    assert result.returncode == 5
    assert "\x1b" not in result.stderr
    assert "\x07" not in result.stderr


def test_refusals_are_told(home: Home) -> None:
    """A provider that isn't there or where machines can't log in, an unknown scope, a wrong parameter."""
    for words, code, fault in [
        (["nowhere"], 1, "there is no provider 'nowhere'"),
        (["practice-off"], 1, "device login is switched off"),
        (["practice", "--parameter", "x"], 2, "NAME=VALUE"),
        (["practice", "--parameter", "x=y"], 1, "parameters.x: unknown"),
        (["practice", "--device-name", "a" * 65], 2, "at most 64 printable characters"),
        (["practice", "--device-name", "a\nb"], 2, "at most 64 printable characters"),
        (["practice", "--device-name", "\u3164"], 1, "device_name has no character that shows"),
    ]:
        result = home.run("login", *words)
        assert (result.returncode, result.stdout, fault in result.stderr) == (code, "", True), result.stderr
    for proof, variables in [
        ({"BROKER_CLIENT_ID": "cl_nobody"}, "see BROKER_CLIENT_ID (and"),
        ({"BROKER_CLIENT_SECRET": "canary"}, "see BROKER_CLIENT_ID and BROKER_CLIENT_SECRET"),
    ]:
        unknown = home.run("login", "practice", **proof)
        assert (unknown.returncode, unknown.stdout, variables in unknown.stderr) == (1, "", True)
        assert "canary" not in unknown.stderr


def test_a_provider_that_is_not_there_is_named_beside_those_that_are(home: Home, remote: Remote) -> None:
    """The broker lists them to a client that proves itself; others learn who could tell."""
    made = remote.operator("clients", "create", "ci", "--device", "--scope", "tokens:read connections:read")
    proof = {"BROKER_CLIENT_ID": made["client_id"], "BROKER_CLIENT_SECRET": made["client_secret"]}
    for variables, told in [({}, "`broker providers list` on its machine"), (proof, "there are: practice, practice-")]:
        refused = home.run("login", "nowhere", **variables)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"there is no provider 'nowhere' at {remote.url}; {told}" in refused.stderr


def test_elsewhere_it_says_what_to_ask_the_operator_for(home: Home, remote: Remote) -> None:
    """Without BROKER_CLIENT_ID, on a machine that isn't the broker's: the command that makes such a client."""
    asked = home.run("login", "practice", BROKER_CLIENT_ID="")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "clients create machines --device --public --scope 'tokens:read connections:read'" in asked.stderr
    assert [one["name"] for one in remote.operator("clients", "list")["items"]] == ["machines"]
    half = home.run("login", "practice", BROKER_CLIENT_ID="", BROKER_CLIENT_SECRET="canary-secret")
    assert (half.returncode, "canary" in half.stderr) == (2, False)


def test_a_broker_of_this_machine_that_is_not_in_reach_is_told_apart(home: Home, remote: Remote) -> None:
    """Its settings are in another folder, or a tunnel leads elsewhere: what to set or where to go, and nothing made."""
    port = remote.url.rpartition(":")[2]
    result = home.run("login", "practice", BROKER_CLIENT_ID="", BROKER_PORT=port, BROKER_DATA_DIR="here")
    assert (result.returncode, result.stdout) == (2, "")
    assert "doesn't keep its store in here of this machine" in result.stderr
    for advice in ("set BROKER_CLIENT_ID", "in its folder", "BROKER_DATA_DIR", "BROKER_REDIS_URL"):
        assert advice in result.stderr
    assert not (home.path / "here").exists()


def test_on_the_brokers_own_machine_any_folder_will_do(home: Home, remote: Remote) -> None:
    """Where its store is it has to know; no file of providers is needed to log in with one."""
    environ = {**remote.environ, "BROKER_CLIENT_ID": "", "BROKER_PROVIDERS_FILE": "providers.yaml"}
    with Home(home.path, environ).logging_in("practice") as (codes, _):
        assert codes["verification_uri"] == f"{remote.url}/device"


def test_without_any_broker_it_says_so(home: Home) -> None:
    """Exit code 3, and how to name one."""
    gone = home.run("login", "practice", BROKER_URL="http://127.0.0.1:1")
    assert (gone.returncode, gone.stdout) == (3, "")
    here = home.run("login", "practice", BROKER_URL="", BROKER_CLIENT_ID="", BROKER_PORT="1")
    assert (here.returncode, "BROKER_URL" in here.stderr) == (3, True)


def test_on_the_brokers_own_machine_it_makes_its_client_once(home: Home, remote: Remote) -> None:
    """A public device client with two scopes; after the broker has forgotten it, another one."""
    here = Home(home.path, {**remote.environ, "BROKER_CLIENT_ID": ""})
    assert here.log_in("practice")["account"]["name"] == "alice@practice.example"
    with here.logging_in("practice"):
        pass
    (made,) = [one for one in remote.operator("clients", "list")["items"] if one["name"] == "broker login"]
    assert (made["scope"], made["device"], made["authentication"]) == ("connections:read tokens:read", True, ["none"])
    remote.operator("clients", "delete", made["client_id"], "--yes")
    with here.logging_in("practice"):
        pass
    again = [one for one in remote.operator("clients", "list")["items"] if one["name"] == "broker login"]
    assert [one["client_id"] == made["client_id"] for one in again] == [False]


def test_a_client_with_a_secret_logs_in_as_itself(home: Home, remote: Remote) -> None:
    """It proves itself at each step; its secret is kept nowhere."""
    words = ("clients", "create", "ci", "--device", "--scope", "tokens:read connections:read")
    made = remote.operator(*words)
    proof = {"BROKER_CLIENT_ID": made["client_id"], "BROKER_CLIENT_SECRET": made["client_secret"]}
    home.log_in("practice", **proof)
    assert made["client_secret"] not in home.logins.read_text()
    home.change(tokens={"expires_at": 0.0})
    without = home.run("token", "practice", BROKER_CLIENT_ID=made["client_id"])
    assert (without.returncode, "BROKER_CLIENT_SECRET" in without.stderr) == (2, True)
    assert home.run("token", "practice", **proof).stdout.startswith("pat_")
    assert home.run("logout", **proof).returncode == 0


def test_a_folders_env_file_does_not_redirect_the_environments_secret(home: Home) -> None:
    """A checkout's .env says where the broker is, the environment holds the secret: neither is used."""
    with stub_broker() as stub:
        (home.path / ".env").write_text(f"BROKER_URL={stub.url}\n")
        result = home.run("token", "practice", BROKER_URL="", BROKER_CLIENT_SECRET="canary-secret")
        assert (result.returncode, stub.asked) == (2, [])
        assert "BROKER_URL: the .env of this folder sets it" in result.stderr
        (home.path / ".env").write_text(f"BROKER_PUBLIC_URL={stub.url}\n")
        result = home.run("token", "practice", BROKER_URL="", BROKER_CLIENT_SECRET="canary-secret")
        assert (result.returncode, stub.asked) == (2, [])


@pytest.mark.parametrize("proxied", [True, False])
def test_a_proxy_is_used_for_brokers_elsewhere_only(home: Home, proxied: bool) -> None:
    """What the machine says about proxies doesn't lead away from this machine's own broker."""
    with stub_broker() as proxy:
        url = "http://localhost:1" if not proxied else "https://broker.example"
        result = home.run("login", "practice", BROKER_URL=url, HTTP_PROXY=proxy.url, HTTPS_PROXY="http://127.0.0.1:1")
        assert result.returncode == 3
        assert proxy.asked == []
        assert ("is BROKER_URL right?" in result.stderr) is proxied


def test_the_newest_login_is_meant_by_the_providers_name(home: Home) -> None:
    """Two accounts with one provider: the name means the later one, and each can be named by its connection."""
    first = given(home)
    second = given(home, account="bob@practice.example")
    named = json.loads(home.run("token", "practice", "--json").stdout)
    assert named["connection_id"] == second.connection_id
    assert json.loads(home.run("token", first.connection_id, "--json").stdout)["connection_id"] == first.connection_id


def test_it_is_kept_where_the_system_keeps_a_users_configuration(home: Home, tmp_path: Path) -> None:
    """``XDG_CONFIG_HOME`` is respected; nothing is written elsewhere in the home."""
    given(home)
    home.logins.parent.rename(tmp_path / "broker")
    moved = home.run("token", "practice", XDG_CONFIG_HOME=str(tmp_path))
    assert moved.stdout.startswith("pat_")
    assert home.run("token", "practice").returncode == 4
