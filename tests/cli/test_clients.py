"""``broker clients``."""

import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.models.ids import digest, new_id
from broker.vault import names
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
        "device": False,
        "previous_secret_ends_at": None,
        "jwks_uri": None,
        "key_ids": [],
        "workloads": [],
        "allow": None,
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


def test_a_client_for_machines_is_made_on_purpose(cli: Cli, raw_store: redis.Redis) -> None:
    """``--device`` lets machines log in; ``--public`` makes no secret, and goes with no other proof."""  # D5
    confidential = cli(*CREATE, "--device", "--json").json
    assert (confidential["device"], confidential["authentication"]) == (True, ["client_secret"])
    machines = ("clients", "create", "machines", "--scope", "tokens:read", "--device", "--public")
    public = cli(*machines, "--json").json
    assert (public["client_secret"], public["authentication"]) == (None, ["none"])
    assert "can only log machines in" in cli(*machines).stderr
    assert cli("clients", "rotate", public["client_id"]).exit_code == 1
    workload = "issuer=https://platform.example,subject=shop,audience=broker"
    refused = cli(*machines, "--workload", workload)
    assert refused.exit_code == 2
    assert "public" in refused.stderr


def test_a_public_client_that_could_not_do_what_it_is_given_is_not_made(cli: Cli) -> None:
    """Without ``--device`` it could do nothing; a scope that no login holds would be given in vain."""  # D5
    alone = cli("clients", "create", "x", "--scope", "tokens:read", "--public")
    assert (alone.exit_code, "add --device" in alone.stderr) == (2, True)
    more = cli("clients", "create", "x", "--scope", "tokens:read connect", "--public", "--device")
    assert more.exit_code == 2
    assert "none of connect; it may hold: connections:read" in more.stderr
    assert cli("clients", "list", "--json").json["items"] == []
    own = cli("clients", "create", "x", "--scope", "tokens:read connect", "--device", "--json").json
    assert own["scope"] == "connect tokens:read"


def test_a_client_may_be_held_to_some_requests(cli: Cli) -> None:
    """``--allow`` is repeatable; a person is shown the list, and a wrong entry is named."""
    made = cli(*CREATE, "--allow", "GET /user", "--allow", "* /public/**", "--json").json
    assert made["allow"] == ["GET /user", "* /public/**"]
    assert "GET /user, * /public/**" in cli("clients", "show", made["client_id"]).stdout
    wrong = cli(*CREATE, "--allow", "GET /user", "--allow", "get /user")
    assert (wrong.exit_code, "allow.1" in wrong.stderr) == (2, True)


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


def test_a_new_secret_is_shown_once_and_the_old_one_ends(cli: Cli, raw_store: redis.Redis) -> None:
    """``rotate --json``: the new secret, and when its predecessor stops: a day from now, or as ``--overlap`` says."""
    client = cli(*CREATE, "--json").json
    for flags, seconds in (((), 86_400), (("--overlap", "60"), 60), (("--overlap", str(30 * 86_400)), 30 * 86_400)):
        before = int(time.time())
        rotated = cli("clients", "rotate", client["client_id"], *flags, "--json").json
        assert rotated.keys() == {"client_id", "client_secret", "previous_secret_ends_at"}
        ends_at = datetime.fromisoformat(rotated["previous_secret_ends_at"]).timestamp()
        assert before + seconds <= ends_at <= time.time() + seconds
        assert rotated["client_secret"] != client["client_secret"]
        stored = everything_in(raw_store)
        assert rotated["client_secret"].encode() not in stored
        assert digest(rotated["client_secret"]).encode() in stored
    shown = cli("clients", "show", client["client_id"], "--json").json
    assert shown["previous_secret_ends_at"] == rotated["previous_secret_ends_at"]
    assert shown["previous_secret_ends_at"] in cli("clients", "show", client["client_id"]).stdout


def test_nothing_but_the_new_secret_works_without_an_overlap(
    cli: Cli, at_heart: Callable[[Callable[[Heart], Coroutine[Any, Any, str]]], str]
) -> None:
    """``--overlap 0``: no end is announced, for it is over; a person reads that broker tokens are, too."""  # S13
    client = cli(*CREATE, "--json").json
    cli("clients", "rotate", client["client_id"])
    rotated = cli("clients", "rotate", client["client_id"], "--overlap", "0", "--json").json
    assert rotated["previous_secret_ends_at"] is None
    assert cli("clients", "show", client["client_id"], "--json").json["previous_secret_ends_at"] is None

    async def present(heart: Heart) -> str:
        stored = await heart.clients.read(client["client_id"])
        assert stored is not None
        return " ".join(stored.secret_digests)

    assert at_heart(present) == digest(rotated["client_secret"])
    told = cli("clients", "rotate", client["client_id"], "--overlap", "0")
    assert "client secret" in told.stdout
    assert "all broker tokens work no longer" in told.stderr


def test_a_person_reads_the_new_secret_and_until_when_the_old_one_works(cli: Cli) -> None:
    """Fields on stdout, the warning on stderr; no other command shows a secret."""
    client_id = cli(*CREATE, "--json").json["client_id"]
    rotated = cli("clients", "rotate", client_id)
    words = rotated.stdout.split()
    assert client_id in words
    assert "previous secret ends at" in rotated.stdout
    assert "can't be shown again" in rotated.stderr
    assert "no longer" not in rotated.stderr
    (secret,) = (word for word in words if word.startswith("bcs_"))
    assert secret not in cli("clients", "show", client_id).stdout + cli("clients", "list", "--json").stdout


@pytest.mark.parametrize("overlap", ["-1", str(30 * 86_400 + 1), "1.5", "a day", ""])
def test_an_overlap_that_is_none_changes_nothing(cli: Cli, raw_store: redis.Redis, overlap: str) -> None:
    """Exit code 2; the secret stays as it was."""
    client_id = cli(*CREATE, "--json").json["client_id"]
    before = raw_store.get(names.client(client_id))
    refused = cli("clients", "rotate", client_id, "--overlap", overlap)
    assert (refused.exit_code, refused.stdout, "overlap" in refused.stderr) == (2, "", True)
    assert raw_store.get(names.client(client_id)) == before


def test_nobody_unknown_is_rotated(cli: Cli) -> None:
    """Exit code 1, whether the id is nobody's or none."""
    for client_id in (new_id("cl"), "cl_x", "x"):
        refused = cli("clients", "rotate", client_id)
        assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", "no such client\n")


def test_a_deleted_client_is_gone(cli: Cli) -> None:
    """``delete`` removes it; showing or deleting it again ends with 1."""
    client_id = cli(*CREATE, "--json").json["client_id"]
    assert cli("clients", "delete", client_id, "--json").json == {"client_id": client_id, "status": "deleted"}
    for command in ("show", "delete"):
        gone = cli("clients", command, client_id)
        assert (gone.exit_code, gone.stdout, gone.stderr) == (1, "", "no such client\n")
