"""``broker clients``."""

import redis

from broker.models.ids import digest
from tests.cli.conftest import Cli
from tests.journey import everything_in

CREATE = ("clients", "create", "my service", "--scope", "connect tokens:read")


def test_a_secret_is_shown_once_and_stored_as_a_hash(cli: Cli, raw_store: redis.Redis) -> None:
    """``create --json`` prints the new client with its secret; the store and later answers don't have it."""
    flags = ("--return-url", "https://a.example/x", "--return-url", "https://b.example/y", "--provider", "practice")
    made = cli(*CREATE, *flags, "--tenant", "acme", "--completion", "browser", "--json")
    assert made.exit_code == 0
    client = made.json
    secret = client.pop("client_secret")
    assert secret.startswith("bcs_")
    assert client.pop("created_at")
    assert client == {
        "client_id": client["client_id"],
        "name": "my service",
        "tenant": "acme",
        "scope": "connect tokens:read",
        "return_urls": ["https://a.example/x", "https://b.example/y"],
        "providers": ["practice"],
        "completions": ["app", "code", "browser"],
        "authentication": ["client_secret"],
        "previous_secret_ends_at": None,
        "jwks_uri": None,
        "key_ids": [],
        "workloads": [],
    }
    stored = everything_in(raw_store)
    assert secret.encode() not in stored
    assert digest(secret).encode() in stored
    shown = cli("clients", "show", client["client_id"], "--json")
    assert "client_secret" not in shown.json
    assert secret not in shown.stdout + cli("clients", "list", "--json").stdout


def test_without_flags_a_client_may_use_every_provider_of_the_default_tenant(cli: Cli) -> None:
    """No ``--provider`` means all; the tenant is ``default``, written into the client."""
    client = cli(*CREATE, "--json").json
    assert (client["providers"], client["tenant"], client["return_urls"]) == (None, "default", [])


def test_scopes_may_be_given_in_one_flag_or_several(cli: Cli) -> None:
    """``--scope`` is repeatable, each with one scope or more; none of them is dropped, and a wrong one is told."""
    flags = ("--scope", "tokens:read", "--scope", "connect connections:read", "--scope", "connect")
    made = cli("clients", "create", "x", *flags, "--json")
    assert made.json["scope"] == "connect connections:read tokens:read"
    wrong = cli("clients", "create", "x", "--scope", "everything", "--scope", "connect")
    assert (wrong.exit_code, "everything" in wrong.stderr) == (2, True)
    assert cli("clients", "create", "x").exit_code == 2
    assert cli("clients", "create", "x", "--scope", " ").exit_code == 2


def test_every_wrong_flag_is_named(cli: Cli, raw_store: redis.Redis) -> None:
    """All faults are told at once with exit code 2, and no client is made."""
    flags = ("--return-url", "http://a.example", "--provider", "nowhere", "--completion", "magic")
    result = cli("clients", "create", "x", "--scope", "connect everything", *flags)
    assert result.exit_code == 2
    named = {line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]}
    assert named == {"scope", "return_url", "provider", "completion"}
    assert cli("clients", "list", "--json").json["items"] == []


def test_flags_of_later_versions_do_not_exist(cli: Cli) -> None:
    """``--public`` and ``--device`` are usage errors, not silently accepted."""
    for flag in ("--public", "--device"):
        assert cli(*CREATE, flag).exit_code == 2


def test_a_person_reads_fields_and_a_table(cli: Cli) -> None:
    """Without ``--json``, ``create`` shows the secret with a warning, ``list`` a line per client."""
    made = cli(*CREATE)
    assert "client secret     bcs_" in made.stdout
    assert "can't be shown again" in made.stderr
    listed = cli("clients", "list").stdout.splitlines()
    assert listed[0].split() == ["CLIENT", "ID", "NAME", "TENANT", "SCOPE"]
    assert "my service" in listed[1]
    assert "bcs_" not in "".join(listed)


def test_lists_can_be_narrowed_to_a_tenant(cli: Cli) -> None:
    """``--tenant`` leaves the others out."""
    cli(*CREATE, "--tenant", "acme")
    cli(*CREATE)
    assert len(cli("clients", "list", "--json").json["items"]) == 2
    (only,) = cli("clients", "list", "--tenant", "acme", "--json").json["items"]
    assert only["tenant"] == "acme"


def test_a_deleted_client_is_gone(cli: Cli) -> None:
    """``delete`` removes it; showing or deleting it again ends with 1."""
    client_id = cli(*CREATE, "--json").json["client_id"]
    assert cli("clients", "delete", client_id, "--json").json == {"client_id": client_id, "status": "deleted"}
    for command in ("show", "delete"):
        gone = cli("clients", command, client_id)
        assert (gone.exit_code, gone.stdout, gone.stderr) == (1, "", "no such client\n")
