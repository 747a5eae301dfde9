"""``broker connections create`` and ``update``: connections without a browser."""

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Cli, Result
from tests.kinds.cases import ALICE, ALICE_KEY, BOB_KEY, CASES, Case, made_by

HandIn = Callable[..., Result]


@pytest.fixture
def hand_in(cli: Cli, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> HandIn:
    """``hand_in(credential, "connections", "create", …)``: the command finds the credential on standard input."""

    def run(credential: object, *words: str) -> Result:
        text = credential if isinstance(credential, str) else json.dumps(credential)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return cli(*words)

    return run


def made(hand_in: HandIn, provider: str, credential: object, *flags: str) -> dict[str, Any]:
    """A connection that must be made."""
    result = hand_in(credential, "connections", "create", provider, "--subject", "ann", "--json", *flags)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = result.json
    return document


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_credential_of_each_kind_is_read_from_standard_input(cli: Cli, hand_in: HandIn, case: Case) -> None:
    """The connection is tried before it is made, and can be shown, tested and ended; nothing prints the credential."""
    connection = made(hand_in, case.provider, case.good, "--label", "mine")
    assert connection["account"] == ALICE
    assert (connection["subject"], connection["label"]) == ("ann", "mine")
    outputs = [cli("connections", word, connection["id"]) for word in ("show", "test", "delete")]
    assert [output.exit_code for output in outputs] == [0, 0, 0]
    assert "unsupported" in outputs[-1].stdout
    assert "revoked at the provider by who made it" in outputs[-1].stdout
    said = json.dumps(connection) + "".join(output.stdout + output.stderr for output in outputs)
    assert not [secret for secret in case.canaries if secret in said]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("flaw", ["wrong", "malformed"])
def test_a_credential_that_is_no_good_is_not_stored(cli: Cli, hand_in: HandIn, case: Case, flaw: str) -> None:
    """The command ends with 1, says what is wrong, and repeats no piece of the credential."""
    credential = case.wrong if flaw == "wrong" else case.malformed
    result = hand_in(credential, "connections", "create", case.provider, "--subject", "ann")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (f"\n  {case.fault}: " if flaw == "malformed" else "Check the credential") in result.stderr
    assert not [value for value in credential.values() if value in result.stderr and len(value) > 8]
    assert cli("connections", "list", "--json").json["items"] == []


def test_one_value_alone_will_do_where_one_is_needed(hand_in: HandIn) -> None:
    """As password managers print it, with a line break."""
    assert made(hand_in, "practice-key", f"{ALICE_KEY}\n")["account"] == ALICE


def test_a_key_file_is_handed_in_as_it_was_downloaded(hand_in: HandIn, sandbox: httpx2.Client) -> None:
    """No wrapping."""
    connection = made(hand_in, "practice-service-account", made_by(sandbox, "google_service_account"))
    assert connection["credential_type"] == "google_service_account"


def test_an_empty_object_stands_for_the_apps_own_grant(hand_in: HandIn) -> None:
    """Client credentials, where the provider has OAuth."""
    assert made(hand_in, "practice", {})["credential_type"] == "client_credentials"


def test_where_there_is_no_credential_nothing_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of type none."""
    monkeypatch.setattr(sys, "stdin", None)
    result = cli("connections", "create", "practice-none", "--subject", "ann", "--json")
    assert result.json["status"] == "active"


@pytest.mark.parametrize(
    ("provider", "text", "fault"),
    [
        ("practice-key", " \n", "is empty"),
        ("practice-basic", "secret-words", "is no JSON object; fields: username, password, domain (optional)"),
        ("practice-basic", '{"password": "secret-words"', "is no JSON"),
        ("practice-key", "secret-words" * 10_000, "may have 65536 characters"),
        ("practice", "secret-words", "is no JSON object"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_repeated(hand_in: HandIn, provider: str, text: str, fault: str) -> None:
    """Exit code 2, as for a command line."""
    result = hand_in(text, "connections", "create", provider, "--subject", "ann")
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr
    assert "secret-words" not in result.stderr


def test_an_unknown_provider_is_noticed_before_a_secret_is_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is left alone; the names that there are are said."""
    monkeypatch.setattr(sys, "stdin", None)
    result = cli("connections", "create", "nobody", "--subject", "ann")
    assert result.exit_code == 1
    assert "there is no provider 'nobody'" in result.stderr
    assert "practice-key" in result.stderr


def test_a_connection_is_changed(cli: Cli, hand_in: HandIn) -> None:
    """Label, fallback, off and on; what isn't named stays."""
    first, second = (made(hand_in, "practice-key", {"api_key": ALICE_KEY}) for _ in range(2))

    def update(*flags: str) -> dict[str, Any]:
        result = cli("connections", "update", first["id"], *flags, "--json")
        assert result.exit_code == 0, result.stderr
        document: dict[str, Any] = result.json
        return document

    changed = update("--label", "new", "--fallback", second["id"], "--disable")
    assert (changed["label"], changed["fallback"], changed["status"]) == ("new", second["id"], "disabled")
    changed = update("--enable", "--label", "")
    assert (changed["label"], changed["fallback"], changed["status"]) == (None, second["id"], "active")
    assert update("--fallback", "")["fallback"] is None
    assert second["id"] not in cli("connections", "show", first["id"]).stdout


def test_a_new_credential_takes_the_place_of_the_old_one(cli: Cli, hand_in: HandIn) -> None:
    """One that is no good, or another account's, changes nothing."""
    connection = made(hand_in, "practice-key", {"api_key": ALICE_KEY})
    words = ("connections", "update", connection["id"], "--credential")
    assert hand_in({"api_key": "pk_practice_nobody_0001"}, *words).exit_code == 1
    other = hand_in({"api_key": BOB_KEY}, *words)
    assert (other.exit_code, "account_mismatch" in other.stderr) == (1, True)
    assert cli("connections", "show", connection["id"], "--json").json == connection
    renewed = hand_in({"api_key": ALICE_KEY}, *words, "--json").json
    assert (renewed["id"], renewed["generation"]) == (connection["id"], 2)
    assert hand_in({"api_key": BOB_KEY}, *words, "--allow-account-change").exit_code == 0


def test_nothing_to_change_is_a_fault(cli: Cli, hand_in: HandIn) -> None:
    """So is a text that the API would not take."""
    connection = made(hand_in, "practice-key", {"api_key": ALICE_KEY})
    assert cli("connections", "update", connection["id"]).exit_code == 2
    assert cli("connections", "update", connection["id"], "--label", "x" * 201).exit_code == 2
    assert cli("connections", "create", "practice-none", "--subject", "").exit_code == 2


def test_a_dead_credential_comes_with_the_command_that_replaces_it(
    cli: Cli, hand_in: HandIn, sandbox: httpx2.Client
) -> None:
    """And a test tells when it works again."""
    key = made_by(sandbox, "api_key")["api_key"]
    connection = made(hand_in, "practice-key", {"api_key": key})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    dead = cli("connections", "test", connection["id"])
    assert dead.exit_code == 1
    assert f"broker connections update {connection['id']} --credential" in dead.stderr
    assert cli("connections", "show", connection["id"], "--json").json["status"] == "reauth_required"
    words = ("connections", "update", connection["id"], "--credential", "--json")
    assert hand_in({"api_key": ALICE_KEY}, *words, "--allow-account-change").json["status"] == "active"


def test_what_nobody_renews_is_not_refreshed(cli: Cli, hand_in: HandIn) -> None:
    """The line says what would help instead."""
    connection = made(hand_in, "practice-key", {"api_key": ALICE_KEY})
    result = cli("connections", "refresh", connection["id"])
    assert (result.exit_code, "not renewed; a test says" in result.stderr) == (1, True)


def test_a_credential_may_be_stored_untried(hand_in: HandIn) -> None:
    """``--no-validate``; the account stays unknown."""
    connection = made(hand_in, "practice-key", {"api_key": "pk_practice_nobody_0001"}, "--no-validate")
    assert (connection["account"], connection["health"]["status"]) == (None, "unknown")
