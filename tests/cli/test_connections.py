"""``broker connections``."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from broker.models.connection import Connection
from tests.cli.conftest import Cli

MakeConnection = Callable[..., Connection]
NOBODY = "con_" + "0" * 22


def test_connections_are_listed_newest_first_and_by_filter(cli: Cli, make_connection: MakeConnection) -> None:
    """The list has the API's fields; subject, provider, status and tenant narrow it."""
    first = make_connection(subject="ann")
    second = make_connection(subject="bob", provider="practice-two")
    foreign = make_connection(subject="ann", tenant="acme")

    def listed(*flags: str) -> list[str]:
        return [item["id"] for item in cli("connections", "list", "--json", *flags).json["items"]]

    assert listed() == [second.id, first.id]
    assert listed("--subject", "ann") == [first.id]
    assert listed("--provider", "practice-two") == [second.id]
    assert listed("--status", "revoked") == []
    assert listed("--tenant", "acme") == [foreign.id]
    table = cli("connections", "list").stdout
    assert first.id in table
    assert foreign.id not in table


def test_a_long_list_goes_on_at_its_cursor(cli: Cli, make_connection: MakeConnection) -> None:
    """A cut list says how to go on, and going on repeats nothing."""
    made = {make_connection().id for _ in range(3)}
    page = cli("connections", "list", "--limit", "2", "--json").json
    rest = cli("connections", "list", "--limit", "2", "--cursor", page["next_cursor"], "--json").json
    assert {item["id"] for item in page["items"] + rest["items"]} == made
    assert rest["next_cursor"] is None
    assert f"--cursor {page['next_cursor']}" in cli("connections", "list", "--limit", "2").stderr


def test_a_connection_is_shown_without_its_credential(
    cli: Cli, make_connection: MakeConnection, sandbox: httpx2.Client
) -> None:
    """``show`` prints what the API answers; neither form holds a token."""
    connection = make_connection()
    shown = cli("connections", "show", connection.id, "--json")
    assert shown.json["id"] == connection.id
    assert shown.json["status"] == "active"
    for text in (shown.stdout, cli("connections", "show", connection.id).stdout):
        assert "pat_" not in text


def test_a_provider_that_is_gone_from_the_file_is_named(
    cli: Cli, make_connection: MakeConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the output, once however many connections it has; an ended one has no need of it."""
    orphans = [make_connection() for _ in range(2)]
    make_connection(provider="practice-two")
    (tmp_path / "fewer.yaml").write_text("providers: {practice-two: {type: none, display_name: Another one}}")
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", "fewer.yaml")
    listed = cli("connections", "list", "--json")
    assert len(listed.json["items"]) == 3
    assert [line for line in listed.stderr.splitlines() if "has no entry" in line] == [
        "fewer.yaml has no entry practice: a broker with this file can't use its connections, only end them"
    ]
    assert "has no entry practice:" in cli("connections", "show", orphans[0].id).stderr
    for orphan in orphans:
        cli("connections", "delete", orphan.id, "--yes")
    assert "has no entry" not in cli("connections", "list").stderr


def test_what_was_consented_to_is_shown(cli: Cli, make_connection: MakeConnection) -> None:
    """A line per authorization: when, how, what for."""
    connection = make_connection()
    (consent,) = connection.consents
    (line,) = [line for line in cli("connections", "show", connection.id).stdout.splitlines() if "consent" in line]
    assert line.endswith(f" by {consent.means}: {' '.join(consent.granted)}")


@pytest.mark.parametrize("command", ["show", "test", "refresh", "delete"])
@pytest.mark.parametrize("connection_id", [NOBODY, "nonsense"])
def test_an_unknown_connection_ends_with_1(cli: Cli, command: str, connection_id: str) -> None:
    """One line on stderr, nothing on stdout."""
    result = cli("connections", command, connection_id)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "no such connection\n")


def test_refreshing_asks_the_provider_once(cli: Cli, make_connection: MakeConnection, sandbox: httpx2.Client) -> None:
    """``refresh`` makes the next generation with one token request."""
    connection = make_connection()
    before = sandbox.get("/counters").json()["token"]["client_credentials"]["ok"]
    refreshed = cli("connections", "refresh", connection.id, "--json")
    assert refreshed.json["generation"] == connection.generation + 1
    assert sandbox.get("/counters").json()["token"]["client_credentials"]["ok"] == before + 1


def test_deleting_revokes_and_says_what_the_provider_said(
    cli: Cli, make_connection: MakeConnection, sandbox: httpx2.Client
) -> None:
    """``delete`` ends the connection here and there; the outcome is printed in both forms."""
    connection, other = make_connection(), make_connection()
    ended = cli("connections", "delete", connection.id, "--json").json
    assert ended == {
        "id": connection.id,
        "status": "revoked",
        "upstream": {"outcome": "revoked", "status": 200, "detail": None},
    }
    assert sandbox.get("/counters").json()["revoke"] == 1
    assert "revoked (HTTP 200)" in cli("connections", "delete", other.id).stdout
    assert cli("connections", "refresh", connection.id).exit_code == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "flags", "ends"), [("n\n", (), False), ("y\n", (), True), ("", ("--yes",), True)])
def test_a_person_is_asked_before_a_connection_ends(
    cli: Cli,
    make_connection: MakeConnection,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    flags: tuple[str, ...],
    ends: bool,
) -> None:
    """On a terminal ``delete`` asks, unless ``--yes``; a no changes nothing."""
    connection = make_connection()
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    result = cli("connections", "delete", connection.id, *flags)
    assert (result.exit_code == 0) == ends
    assert ("Disconnect" in result.stderr) == (not flags)
    assert sandbox.get("/counters").json()["revoke"] == int(ends)
    status = cli("connections", "show", connection.id, "--json").json["status"]
    assert status == ("revoked" if ends else "active")


def test_a_credential_is_tried_at_the_provider(
    cli: Cli, make_connection: MakeConnection, sandbox: httpx2.Client
) -> None:
    """``test`` ends with 0 where the provider takes the token."""
    result = cli("connections", "test", make_connection().id, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.json["status"] in {"healthy", "unknown"}


def test_an_unreachable_provider_ends_with_3(
    cli: Cli, make_connection: MakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``refresh`` without the provider ends with 3 and leaves the connection active."""
    connection = make_connection()
    monkeypatch.setenv("PRACTICE", "http://127.0.0.1:1")
    assert cli("connections", "refresh", connection.id).exit_code == 3
    assert cli("connections", "show", connection.id, "--json").json["status"] == "active"
