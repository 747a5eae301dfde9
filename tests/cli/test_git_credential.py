"""``broker git-credential``: git's helper protocol, as git itself speaks it and line by line."""

import re
import subprocess
import time

import httpx2
import pytest

from broker.cli.git_credential import Question, parsed
from tests.cli.headless import COMMAND, GIT_HOST, Home
from tests.cli.remote_broker import Remote, given, home, remote, serving

__all__ = ["home", "remote", "serving"]

ASKS = f"protocol=https\nhost={GIT_HOST}\n\n"


def password_of(answer: str) -> str:
    """The password in a helper's answer."""
    (password,) = re.findall(r"^password=(.+)$", answer, re.MULTILINE)
    return str(password)


def git(home: Home, *words: str, says: str) -> "subprocess.CompletedProcess[str]":
    """git, with us as its helper for one host, and nobody to ask at a terminal."""
    helper = "!" + " ".join(COMMAND) + " git-credential"
    return subprocess.run(
        ["git", "-c", f"credential.https://{GIT_HOST}.helper={helper}", "credential", *words],
        env={**home.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"},
        cwd=home.path,
        input=says,
        capture_output=True,
        text=True,
        check=False,
    )


def test_git_is_given_a_token_that_ends_when_it_says(home: Home) -> None:
    """User name, token and its end, each on a line, and nothing else."""
    given(home)
    token = home.run("token", "practice").stdout.strip()
    answer = home.run("git-credential", "get", says=ASKS)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = dict(line.split("=", 1) for line in answer.stdout.splitlines())
    assert (lines.pop("username"), lines.pop("password")) == ("x-access-token", token)
    assert 3000 < int(lines.pop("password_expiry_utc")) - time.time() <= 3600
    assert lines == {}


def test_git_itself_understands_it(home: Home) -> None:
    """``git credential fill``, ``approve`` and ``reject`` with the helper as the documentation configures it."""
    given(home)
    filled = git(home, "fill", says=ASKS)
    assert filled.returncode == 0, filled.stderr
    assert "username=x-access-token" in filled.stdout
    first = password_of(filled.stdout)
    assert git(home, "approve", says=filled.stdout).returncode == 0
    assert password_of(git(home, "fill", says=ASKS).stdout) == first
    assert git(home, "reject", says=filled.stdout).returncode == 0
    second = password_of(git(home, "fill", says=ASKS).stdout)
    assert second != first
    assert password_of(git(home, "fill", says=ASKS).stdout) == second


def test_only_a_token_that_was_refused_is_replaced(home: Home) -> None:
    """``erase`` with another password, or none, says nothing about ours; said late, it changes nothing either."""
    given(home)
    first = password_of(home.run("git-credential", "get", says=ASKS).stdout)
    question = ASKS.rstrip("\n")
    for password in ("", "\npassword=", "\npassword=somebody-elses"):
        assert home.run("git-credential", "erase", says=f"{question}{password}\n").returncode == 0
    assert password_of(home.run("git-credential", "get", says=ASKS).stdout) == first
    home.run("git-credential", "erase", says=f"{question}\npassword={first}\n")
    second = password_of(home.run("git-credential", "get", says=ASKS).stdout)
    home.run("git-credential", "erase", says=f"{question}\npassword={first}\n")
    assert password_of(home.run("git-credential", "get", says=ASKS).stdout) == second
    assert first != second


@pytest.mark.parametrize(
    "says",
    [
        f"protocol=http\nhost={GIT_HOST}\n\n",
        f"protocol=ssh\nhost={GIT_HOST}\n\n",
        f"protocol=https\nhost=evil.example@{GIT_HOST}\n\n",
        f"host={GIT_HOST}\n\n",
        "protocol=https\n\n",
        "\n",
        "",
        "nonsense",
    ],
)
def test_what_is_no_question_of_ours_is_answered_with_silence(home: Home, says: str) -> None:
    """Exit code 0 and not a byte, so that git asks its next helper."""
    given(home)
    for operation in ("get", "store", "erase"):
        answer = home.run("git-credential", operation, says=says)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("host", ["other.example", f"{GIT_HOST}:8443", f"{GIT_HOST}.evil.example"])
def test_others_hosts_are_left_to_the_next_helper(home: Home, host: str) -> None:
    """Exit code 0 and not a byte for git; its person sees on stderr why there is no password."""
    given(home)
    for operation in ("get", "store", "erase"):
        answer = home.run("git-credential", operation, says=f"protocol=https\nhost={host}\n\n")
        hint = f"not logged in for {host}; log in: broker login PROVIDER\n" if operation == "get" else ""
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", hint)


def test_a_token_that_git_was_not_given_by_us_can_be_refused(home: Home) -> None:
    """Its person pasted it, or another helper has kept it: ``erase`` before any ``get`` is not lost."""
    login = given(home)
    (kept,) = home.kept()
    with httpx2.Client(base_url=login.url, trust_env=False) as http:
        bearer = {"Authorization": f"Bearer {kept['tokens']['access_token']}"}
        body = http.post(f"/v1/connections/{login.connection_id}/token", headers=bearer, json={}).json()
    first = body["access_token"]
    question = ASKS.rstrip("\n")
    assert home.run("git-credential", "erase", says=f"{question}\npassword=another\n").returncode == 0
    assert home.run("token", "practice").stdout.strip() == first
    home.change(served={})
    assert home.run("git-credential", "erase", says=f"{question}\npassword={first}\n").returncode == 0
    assert password_of(home.run("git-credential", "get", says=ASKS).stdout) != first


@pytest.mark.parametrize(
    ("host", "understood"),
    [("Git.Example", "git.example"), ("git.example:443", "git.example"), ("git.example:8443", "git.example:8443")],
)
def test_hosts_are_compared_as_hosts(host: str, understood: str) -> None:
    """Case doesn't matter, nor the protocol's own port."""
    assert parsed(f"protocol=https\nhost={host}\n".encode()) == Question("https", understood, "", "")


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "[::1]:3000"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    """Anybody else could read along."""
    question = parsed(f"protocol=http\nhost={host}\n".encode())
    assert question is not None
    assert question.is_safe


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "git.example:80"])
def test_plain_http_is_for_nobody_else(host: str) -> None:
    """What only looks like this machine isn't it."""
    question = parsed(f"protocol=http\nhost={host}\n".encode())
    assert question is not None
    assert not question.is_safe


def test_the_account_in_the_address_chooses_the_login(home: Home) -> None:
    """``https://alice%40…@host`` means hers; without one the newest login is meant, or with one that nobody has."""
    first = given(home)
    given(home, account="bob@practice.example")
    tokens = {name: home.run("token", name).stdout.strip() for name in (first.connection_id, "practice")}

    def asked(username: str) -> str:
        question = ASKS.rstrip("\n") + f"\nusername={username}\n\n"
        return password_of(home.run("git-credential", "get", says=question).stdout)

    assert asked("alice@practice.example") == tokens[first.connection_id]
    assert asked("bob@practice.example") == asked("x-access-token") == tokens["practice"]


def test_git_need_not_know_of_the_broker(home: Home, remote: Remote) -> None:
    """Without BROKER_URL every login counts; with it only those at that broker."""
    given(home)
    assert password_of(home.run("git-credential", "get", says=ASKS, BROKER_URL="").stdout)
    assert home.run("git-credential", "get", says=ASKS, BROKER_URL="https://other.example").stdout == ""


def test_what_was_cloned_has_no_say(home: Home) -> None:
    """The ``.env`` of the folder that git works in is not read."""
    given(home)
    (home.path / ".env").write_text("BROKER_URL=https://evil.example\nBROKER_WORKERS=none\n")
    assert password_of(home.run("git-credential", "get", says=ASKS, BROKER_URL="").stdout)


def test_a_login_that_has_ended_is_said_on_stderr(home: Home, remote: Remote) -> None:
    """Exit code 4; git reads nothing from stdout and goes on to whoever is next."""
    login = given(home)
    remote.operator("connections", "delete", login.connection_id, "--yes")
    answer = home.run("git-credential", "get", says=ASKS)
    assert (answer.returncode, answer.stdout) == (4, "")
    assert "broker login practice" in answer.stderr
