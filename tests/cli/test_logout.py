"""``broker logout`` and ``broker whoami``: what this machine is logged in with, and the end of it."""

import json

import httpx2
import pytest

from tests.cli.headless import Home, approve
from tests.cli.remote_broker import Remote, given, home, remote, serving
from tests.cli.stub import stub_broker
from tests.waiting import until

__all__ = ["home", "remote", "serving"]


def until_disconnected(remote: Remote, connection_id: str) -> None:
    """Return when a connection has ended at the broker, which looks after it within ten seconds."""
    until(lambda: remote.operator("connections", "show", connection_id)["status"] == "revoked")


def test_logging_out_disconnects_what_nobody_else_uses(home: Home, remote: Remote, sandbox: httpx2.Client) -> None:
    """The only login needs no name; the connection ends at the broker, and the token is dead at the provider."""
    login = given(home)
    token = home.run("token", "practice").stdout.strip()
    result = home.run("logout")
    assert (result.returncode, result.stdout) == (0, "")
    assert f"logged out: practice {login.connection_id}" in result.stderr
    assert home.kept() == []
    until_disconnected(remote, login.connection_id)
    answer = sandbox.get("/whoami", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_of_several_one_has_to_be_named(home: Home, remote: Remote) -> None:
    """By its connection, or by the provider: then the newest; or all of them."""
    first, second, third = (given(home) for _ in range(3))
    unclear = home.run("logout")
    assert unclear.returncode == 2
    assert first.connection_id in unclear.stderr.replace("\n", "").replace(" ", "")
    assert len(home.kept()) == 3
    assert home.run("logout", first.connection_id).returncode == 0
    assert home.run("logout", "practice").returncode == 0
    assert [one["connection_id"] for one in home.kept()] == [second.connection_id]
    given(home)
    assert home.run("logout", "practice", "--all").returncode == 2
    assert home.run("logout", "--all").returncode == 0
    assert home.kept() == []
    for one in (first, second, third):
        until_disconnected(remote, one.connection_id)


def test_where_there_is_nothing_to_end_it_says_so(home: Home) -> None:
    """Exit code 4; ``--all`` of nothing is done."""
    assert home.run("logout").returncode == 4
    assert home.run("logout", "practice").returncode == 4
    assert home.run("logout", "--all").returncode == 0


def test_a_broker_that_is_away_keeps_the_login(home: Home) -> None:
    """It could not be told, so it would live on there: exit code 3. ``--forget`` does it all the same."""
    given(home)
    home.change(url="http://127.0.0.1:1")
    assert home.run("logout", BROKER_URL="http://127.0.0.1:1").returncode == 3
    assert len(home.kept()) == 1
    assert home.run("logout", "--forget", BROKER_URL="http://127.0.0.1:1").returncode == 0
    assert home.kept() == []


def test_whoami_says_who_where_and_since_when(home: Home, remote: Remote) -> None:
    """A line per login, the newest first; as JSON the same."""
    first, second = given(home), given(home, account="bob@practice.example")
    table = home.run("whoami")
    assert table.returncode == 0
    for part in (first.connection_id, second.connection_id, "alice@", "bob@", "active", "profile"):
        assert part in table.stdout
    assert remote.url in table.stderr
    document = json.loads(home.run("whoami", "--json").stdout)
    assert document["broker"] == remote.url
    assert [one["account"]["name"] for one in document["logins"]] == ["bob@practice.example", "alice@practice.example"]
    assert {(one["provider"], one["status"], *one["scopes"]) for one in document["logins"]} == {
        ("practice", "active", "profile")
    }


def test_whoami_finds_out_that_a_login_has_ended(home: Home, remote: Remote) -> None:
    """It is shown once more, with the account that it was; exit code 4 when none is left."""
    first, second = given(home), given(home)
    remote.operator("connections", "delete", first.connection_id, "--yes")
    result = home.run("whoami", "--json")
    assert result.returncode == 0
    assert [one["status"] for one in json.loads(result.stdout)["logins"]] == ["active", "ended"]
    assert "has ended; log in again: broker login practice" in result.stderr
    remote.operator("connections", "delete", second.connection_id, "--yes")
    result = home.run("whoami")
    assert (result.returncode, "ended" in result.stdout, "alice@" in result.stdout) == (4, True, True)
    assert home.kept() == []
    result = home.run("whoami")
    assert (result.returncode, result.stdout) == (4, "")


def test_a_locked_keyring_is_not_taken_for_an_end(home: Home) -> None:
    """The secrets are where nobody gives them away now: the login stays, and can be forgotten without them."""
    given(home)
    home.change(tokens=None)
    for words, code in [(("whoami", "--json"), 0), (("token", "practice"), 4), (("logout",), 4)]:
        result = home.run(*words)
        assert (result.returncode, "unlock it, or log in again" in result.stderr) == (code, True)
    assert json.loads(home.run("whoami", "--json").stdout)["logins"][0]["status"] == "unknown"
    assert home.run("logout", "--forget").returncode == 0
    assert home.kept() == []


def test_a_client_that_may_not_look_at_connections_logs_in_all_the_same(home: Home, remote: Remote) -> None:
    """With ``tokens:read`` alone: the login says that it isn't told as whom, and whoami that it doesn't know."""
    client = remote.operator("clients", "create", "blind", "--device", "--public", "--scope", "tokens:read")
    with home.logging_in("practice", BROKER_CLIENT_ID=client["client_id"]) as (codes, process):
        approve(codes["verification_uri_complete"])
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, json.loads(stdout)["account"]) == (0, None)
    assert "the broker doesn't say as whom" in stderr
    result = home.run("whoami", "--json")
    (seen,) = json.loads(result.stdout)["logins"]
    assert (result.returncode, seen["status"]) == (0, "unknown")
    assert home.run("token", "practice").stdout.startswith("pat_")


@pytest.mark.parametrize("status", [500, 503])
def test_whoami_ends_nothing_because_the_broker_is_ill(home: Home, status: int) -> None:
    """What can't be asked is not over."""
    login = given(home)
    with stub_broker() as stub:
        home.change(url=stub.url, tokens={"expires_at": 9e9})
        stub.answers[f"/v1/connections/{login.connection_id}"] = [(status, {"detail": "ill"})]
        result = home.run("whoami", BROKER_URL=stub.url)
    assert result.returncode in {1, 3}
    assert "ill" in result.stderr
    assert len(home.kept()) == 1


def test_logins_elsewhere_are_mentioned(home: Home, remote: Remote) -> None:
    """Whoever looks at the wrong broker sees where they are logged in."""
    given(home)
    result = home.run("whoami", BROKER_URL="https://other.example")
    assert result.returncode == 4
    assert f"also logged in at {remote.url}" in result.stderr
