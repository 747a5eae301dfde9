"""``broker token`` and ``broker exec``: by a login, by a client, and what they never print."""

import json
import signal
import stat
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.cli.headless import Home
from tests.cli.remote_broker import Remote, given, home, remote, serving
from tests.cli.stub import stub_broker

__all__ = ["home", "remote", "serving"]

READER = ("clients", "create", "reader", "--scope", "tokens:read connections:read connections:write")


def connection(remote: Remote, subject: str) -> str:
    """A connection by the provider's client credentials grant; its id."""
    made = remote.operator("clients", "create", "maker", "--scope", "connections:write")
    with httpx2.Client(base_url=remote.url, trust_env=False) as http:
        proof = (made["client_id"], made["client_secret"])
        granted = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=proof)
        body = {"provider": "practice", "subject": subject, "credentials": {}}
        headers = {"Authorization": f"Bearer {granted.json()['access_token']}"}
        made_connection = http.post("/v1/connections", json=body, headers=headers)
    return str(made_connection.raise_for_status().json()["id"])


def test_a_token_and_nothing_else(home: Home) -> None:
    """One line on stdout, nothing on stderr; with --json what the API answers."""
    given(home)
    result = home.run("token", "practice")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("pat_")
    assert result.stdout.count("\n") == 1
    document = json.loads(home.run("token", "practice", "--json").stdout)
    assert document["access_token"] == result.stdout.strip()
    assert document["generation"] == 1


def test_one_that_lives_long_enough(home: Home) -> None:
    """``--min-ttl`` beyond what it has left makes the broker refresh it."""
    given(home)
    first = home.run("token", "practice").stdout
    assert home.run("token", "practice", "--min-ttl", "60").stdout == first
    assert home.run("token", "practice", "--min-ttl", "3600").stdout != first


def test_one_that_the_provider_refused_is_replaced_once(home: Home) -> None:
    """``--refused`` is about the one that was printed last; what follows is the new one, for ``exec`` as well."""
    given(home)
    first = home.run("token", "practice").stdout
    second = home.run("token", "practice", "--refused").stdout
    assert second != first
    assert home.run("token", "practice").stdout == second
    third = home.run("exec", "practice", "--refused", "--", "sh", "-c", "echo $PRACTICE_TOKEN").stdout
    assert third not in {first, second}
    assert home.run("token", "practice").stdout == third


def test_a_refusal_of_a_token_that_was_replaced_meanwhile_replaces_nothing(home: Home, remote: Remote) -> None:
    """Somebody else said so before: what was served last here is older than what there is."""
    login = given(home)
    first = home.run("token", "practice").stdout
    bearer = {"Authorization": f"Bearer {home.kept()[0]['tokens']['access_token']}"}
    path = f"{remote.url}/v1/connections/{login.connection_id}/token"
    newer = httpx2.post(path, headers=bearer, json={"stale_generation": 1}, trust_env=False).json()["access_token"]
    assert newer != first.strip()
    assert home.run("token", "practice", "--refused").stdout.strip() == newer


def test_without_a_login_it_says_how_to_log_in(home: Home) -> None:
    """Exit code 4; a login at another broker, or with another provider, is none here."""
    given(home)
    for name, command in [("practice-bare", "broker login practice-bare"), ("con_other", "con_other")]:
        result = home.run("token", name)
        assert (result.returncode, result.stdout, command in result.stderr) == (4, "", True)
    elsewhere = home.run("token", "practice", BROKER_URL="http://127.0.0.1:1")
    assert elsewhere.returncode == 4


def test_a_login_that_was_ended_elsewhere_is_over(home: Home, remote: Remote) -> None:
    """The operator disconnects it: exit code 4, the command to type, and it is forgotten."""
    login = given(home)
    remote.operator("connections", "delete", login.connection_id, "--yes")
    result = home.run("token", "practice")
    assert (result.returncode, result.stdout) == (4, "")
    assert "log in again: broker login practice" in result.stderr
    assert home.kept() == []


def test_a_token_that_could_mean_more_than_itself_is_not_printed(home: Home) -> None:
    """A line break in it would be another line to whoever reads it."""
    login = given(home)
    with stub_broker() as stub:
        home.change(url=stub.url, tokens={"expires_at": 9e9})
        stub.answers[f"/v1/connections/{login.connection_id}/token"] = [(200, {"access_token": "a\nquit=1"})]
        result = home.run("token", "practice", BROKER_URL=stub.url)
    assert (result.returncode, result.stdout) == (1, "")
    assert "quit" not in result.stderr


def test_a_client_stands_in_where_there_is_no_login(home: Home, remote: Remote) -> None:
    """A provider means its only active connection; of several it names the ids, of none it says so."""
    client = remote.operator(*READER)
    proof = {"BROKER_CLIENT_ID": client["client_id"], "BROKER_CLIENT_SECRET": client["client_secret"]}
    none = home.run("token", "practice", **proof)
    assert (none.returncode, "no active connection" in none.stderr) == (1, True)
    first = connection(remote, "ann")
    assert home.run("token", "practice", **proof).stdout.startswith("pat_")
    second = connection(remote, "bob")
    several = home.run("token", "practice", **proof)
    assert (several.returncode, several.stdout) == (1, "")
    for part in (first, second, "ann", "bob"):
        assert part in several.stderr
    token = home.run("token", second, **proof).stdout
    assert token.startswith("pat_")
    assert home.run("token", second, "--refused", **proof).stdout not in {token, ""}
    wrong = home.run("token", second, **{**proof, "BROKER_CLIENT_SECRET": "canary-secret"})
    assert (wrong.returncode, "canary" in wrong.stderr) == (1, False)
    ran = home.run("exec", second, "--", "sh", "-c", "echo $PRACTICE_TOKEN", **proof)
    assert ran.stdout.startswith("pat_")


def test_a_program_finds_the_token_in_its_environment(home: Home) -> None:
    """All variables that the provider names, by their templates; the program's end is the command's."""
    given(home)
    token = home.run("token", "practice").stdout.strip()
    script = 'echo "$PRACTICE_TOKEN|$PRACTICE_HEADER|$OTHER|$1"; exit 7'
    result = home.run("exec", "practice", "--", "sh", "-c", script, "sh", "--json", OTHER="kept")
    assert (result.returncode, result.stderr) == (7, "")
    assert result.stdout == f"{token}|Bearer {token}|kept|--json\n"


def test_the_token_stands_in_no_command_line(home: Home) -> None:
    """Only in the program's environment: others on the machine can read command lines."""
    given(home)
    token = home.run("token", "practice").stdout.strip()
    with home.start("exec", "practice", "--", "sh", "-c", "echo up; read line") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        listed = subprocess.check_output(["ps", "-A", "-o", "args"], text=True)
        assert "read line" in listed
        process.communicate("\n", timeout=60)
    assert token not in listed


def test_it_becomes_the_program(home: Home) -> None:
    """The same process, with signals as a shell would leave them: SIGPIPE ends a program whose reader is gone."""
    given(home)
    script = "echo $$; kill -PIPE $$; echo alive"
    with home.start("exec", "practice", "--", "sh", "-c", script) as process:
        stdout, _ = process.communicate(timeout=60)
    assert stdout == f"{process.pid}\n"
    assert process.returncode == -signal.SIGPIPE


def test_a_program_that_can_not_be_started(home: Home, tmp_path: Path) -> None:
    """127 where there is none, 126 where it may not be executed, as shells have it."""
    given(home)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(stat.S_IRUSR)
    for name, code in [("no-such-program", 127), (f"{script}/x", 127), (str(script), 126), (str(tmp_path), 126)]:
        result = home.run("exec", "practice", "--", name)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.startswith(f"{name}: ")
    assert home.run("exec", "practice").returncode == 2


def test_a_provider_that_names_no_variables_is_said_so(home: Home) -> None:
    """Nothing is run."""
    given(home, provider="practice-bare")
    result = home.run("exec", "practice-bare", "--", "echo", "ran")
    assert (result.returncode, result.stdout) == (1, "")
    assert "its entry has no env" in result.stderr


@pytest.mark.parametrize(
    "env", [{"LD_PRELOAD": "{access_token}"}, {"PATH": "{access_token}"}, {"A=B": "{access_token}"}, {"X": "fixed"}]
)
def test_a_broker_can_not_steer_the_program(home: Home, env: dict[str, str]) -> None:
    """Variables that decide what is loaded or run, and values that are no token, are refused before anything runs."""
    login = given(home)
    with stub_broker() as stub:
        home.change(url=stub.url, tokens={"expires_at": 9e9})
        stub.answers = {
            "/v1/providers/practice": [(200, {"name": "practice", "env": env})],
            f"/v1/connections/{login.connection_id}/token": [(200, {"access_token": "pat_1"})],
        }
        result = home.run("exec", "practice", "--", "echo", "ran", BROKER_URL=stub.url)
    assert (result.returncode, result.stdout) == (2, "")
    assert next(iter(env)) in result.stderr


def test_the_client_that_connect_made_stands_in_on_the_brokers_machine(home: Home, remote: Remote) -> None:
    """Nothing is configured there, and nothing has to be; where it made none, one has to log in."""
    here = Home(home.path, {**remote.environ, "BROKER_CLIENT_ID": ""})
    assert here.run("token", "practice").returncode == 4
    connection(remote, "ann")
    with here.start("connect", "practice", "--no-browser") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert here.run("token", "practice").stdout.startswith("pat_")


def test_an_older_client_of_connect_is_replaced(home: Home, remote: Remote) -> None:
    """One that a previous version made can't fetch tokens: ``connect`` makes another one, and the old one is gone."""
    old = remote.operator(
        "clients", "create", "broker connect", "--scope", "connect connections:read",
        "--return-url", "http://127.0.0.1/callback",
    )  # fmt: skip
    kept = Path(remote.environ["BROKER_DATA_DIR"]) / "connect-client.json"
    known = {"client_id": old["client_id"], "client_secret": old["client_secret"]}
    kept.write_text(json.dumps({remote.url: known}))
    here = Home(home.path, {**remote.environ, "BROKER_CLIENT_ID": ""})
    with here.start("connect", "practice", "--no-browser") as process:
        assert process.stderr is not None
        assert "Open this link" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    ours = [one for one in remote.operator("clients", "list")["items"] if one["name"] == "broker connect"]
    assert [one["scope"] for one in ours] == ["connect connections:read tokens:read"]
    assert kept.stat().st_mode & 0o777 == 0o600
