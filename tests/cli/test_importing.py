"""``broker connections import``."""

import csv
import io
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.models.connection import Connection
from broker.vault.names import lease
from tests.cli.conftest import Cli, MakeFile
from tests.connections.moving.sealing import OURS, PAIRS, X25519, protected
from tests.journey import everything_in, snapshot
from tests.kinds.cases import ALICE_KEY, made_by


def a_row(number: int = 1, key: str = ALICE_KEY, **more: Any) -> dict[str, Any]:
    """With a key that the provider accepts."""
    row = {"provider": "practice-key", "subject": f"user {number}", "credentials": {"api_key": key}}
    return {**row, "source_id": f"theirs-{number}", **more}


def test_a_file_is_taken_in_found_again_and_taken_back(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, raw_store: redis.Redis, tmp_path: Path
) -> None:
    """Each command says what it did, for people and for programs, and what can be done next."""
    assert cli("connections", "import", "--batches").exit_code == 0
    before, ids = snapshot(raw_store), tmp_path / "ids.csv"
    file = make_file(a_row(1), a_row(2))
    done = cli("connections", "import", file, "--json", "--ids", str(ids))
    assert done.exit_code == 0, done.stderr
    batch, connections = done.json["batch"], done.json["connections"]
    told = {name: done.json[name] for name in ("state", "already", "rows", "imported", "skipped", "unverified")}
    assert told == {"state": "done", "already": False, "rows": 2, "imported": 2, "skipped": 0, "unverified": 0}
    assert [(one["row"], one["source_id"], one["provider"], one["subject"]) for one in connections] == [
        (1, "theirs-1", "practice-key", "user 1"),
        (2, "theirs-2", "practice-key", "user 2"),
    ]
    table = list(csv.DictReader(io.StringIO(ids.read_text())))
    assert [row["connection_id"] for row in table] == [one["connection_id"] for one in connections]
    shown = cli("connections", "show", connections[0]["connection_id"], "--json").json
    assert (shown["subject"], shown["consents"][0]["session"]) == ("user 1", batch)
    again = cli("connections", "import", file, "--no-verify", "--json", "--ids", str(tmp_path / "ids.jsonl"))
    assert (again.exit_code, again.json["already"], again.json["connections"]) == (0, True, connections)
    lines = (tmp_path / "ids.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == connections
    assert "nothing was changed" in cli("connections", "import", file).stdout
    (listed,) = cli("connections", "import", "--batches", "--json").json["items"]
    assert (listed["batch"], listed["state"], listed["file"], listed["rows"]) == (batch, "done", "all.jsonl", 2)
    assert batch in cli("connections", "import", "--batches").stdout
    back = cli("connections", "import", "--rollback", batch, "--json")
    assert back.json == {
        "state": "rolled_back",
        "batch": batch,
        "removed": 2,
        "forced": 0,
        "amended": 0,
        "ended": 0,
        "kept": [],
    }
    assert {k: v for k, v in snapshot(raw_store).items() if b"{gate:" not in k} == before
    gone = cli("connections", "import", "--rollback", batch, "-y")
    assert (gone.exit_code, gone.stderr) == (1, "there is no such import\n")


def test_a_dry_run_says_what_would_come(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """And stores nothing."""
    checked = cli("connections", "import", make_file(a_row()), "--dry-run", "--json")
    assert (checked.exit_code, checked.json["state"], checked.json["batch"]) == (0, "checked", None)
    assert b"con_" not in everything_in(raw_store)
    wrong = make_file(a_row(key="pk_practice_nobody_0001"))
    refused = cli("connections", "import", wrong, "--dry-run")
    assert (refused.exit_code, "--no-verify takes them in as they are" in refused.stderr) == (1, True)
    sandbox.post("/control", json={"key_scopes": ["profile"]}).raise_for_status()
    file = make_file(a_row(scopes=["profile", "messages.read"]))
    assert "lacking scopes  1\n" in cli("connections", "import", file, "--dry-run").stdout
    assert cli("connections", "import", file, "--dry-run", "--json").json["lacking"] == 1


def test_standard_input_is_read_once_and_kept_private(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, sandbox: httpx2.Client
) -> None:
    """Of a pipe, too, every look begins anew; the copy has no name and is nobody else's."""
    seen: list[int] = []
    spooled = tempfile.TemporaryFile

    def watched() -> Any:
        file = spooled()
        status = os.fstat(file.fileno())
        seen.extend((stat.S_IMODE(status.st_mode), status.st_nlink))
        return file

    monkeypatch.setattr("broker.cli.import_file.tempfile.TemporaryFile", watched)
    text = json.dumps({name: value for name, value in a_row().items() if name != "provider"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{text}\n".encode())))
    done = cli("connections", "import", "-", "--provider", "practice-key", "--tenant", "acme", "--json")
    assert (done.exit_code, done.json["imported"]) == (0, 1)
    assert seen == [0o600, 0]
    (listed,) = cli("connections", "list", "--tenant", "acme", "--json").json["items"]
    assert listed["id"] == done.json["connections"][0]["connection_id"]


def test_what_decides_what_a_file_means_makes_another_import(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client
) -> None:
    """Its tenant, say; how it is tested does not."""
    file = make_file(a_row())
    first = cli("connections", "import", file, "--json").json["batch"]
    assert cli("connections", "import", file, "--no-verify", "--existing", "add", "--json").json["batch"] == first
    assert cli("connections", "import", file, "--tenant", "acme", "--json").json["batch"] != first


def test_rows_are_refreshed_at_once_where_that_is_wanted(cli: Cli, make_file: MakeFile, sandbox: httpx2.Client) -> None:
    """Whose grant is gone is named, and stays, saying so."""
    grants = sandbox.post("/control/grants", json={"count": 2}).raise_for_status().json()
    rows = [
        {"provider": "practice-strict", "subject": f"user {number}", "credentials": {**tokens, "expires_at": 1}}
        for number, tokens in enumerate(grants, 1)
    ]
    rows.append({**rows[0], "subject": "user 3", "credentials": {"refresh_token": "prt_nobodys", "expires_at": 1}})
    done = cli("connections", "import", make_file(*rows, a_row(4)), "--refresh", "--json")
    assert (done.exit_code, done.json["state"], done.json["unverified"]) == (1, "done", 3)
    assert (done.json["refreshed"]["refreshed"], done.json["refreshed"]["static"]) == (2, 1)
    (failed,) = done.json["refreshed"]["failed"]
    assert failed["connection_id"] == done.json["connections"][2]["connection_id"]
    shown = cli("connections", "show", failed["connection_id"], "--json").json
    assert shown["status"] == "reauth_required"
    refused = cli("connections", "import", "--rollback", done.json["batch"], "-y")
    assert refused.exit_code == 1
    assert refused.stderr.count("changed since: con_") == 2
    told = cli("connections", "import", "--rollback", done.json["batch"], "-y", "--json")
    assert (told.exit_code, told.json["state"], len(told.json["changed"])) == (1, "refused", 2)
    assert f"{told.json['message']}\n" in told.stderr
    forced = cli("connections", "import", "--rollback", done.json["batch"], "--force", "--json", "-y")
    assert (forced.json["removed"], forced.json["forced"]) == (4, 2)


def test_what_is_kept_by_a_rollback_is_named_and_the_exit_code_says_so(
    cli: Cli, make_file: MakeFile, raw_store: redis.Redis, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1, though the rest is gone: something is left that was to go."""
    monkeypatch.setattr("broker.connections.moving.rollback._PATIENCE", 0.0)
    done = cli("connections", "import", make_file(a_row(1), a_row(2)), "--json")
    kept = done.json["connections"][0]["connection_id"]
    raw_store.set(lease(kept), "somebody")
    back = cli("connections", "import", "--rollback", done.json["batch"], "--force", "--json", "-y")
    assert (back.exit_code, back.json["removed"], back.json["kept"]) == (1, 1, [kept])
    assert f"kept: {kept}" in back.stderr


def test_an_export_comes_back_with_its_key(
    cli: Cli, make_file: MakeFile, make_connection: Callable[..., Connection], sandbox: httpx2.Client, tmp_path: Path
) -> None:
    """A passphrase is asked for at a terminal; there is none here."""
    made = make_connection(tenant="acme")
    public, private, file = tmp_path / "public.pem", tmp_path / "private.pem", str(tmp_path / "export")
    public.write_bytes(OURS.public)
    assert cli("connections", "export", file, "--to", str(public)).exit_code == 0
    private.write_bytes(PAIRS["P-256"].private)
    closed = cli("connections", "import", file, "--key", str(private))
    assert (closed.exit_code, closed.stderr.splitlines()[-1]) == (1, "Nothing of the file was taken in.")
    assert "row 1: --key: the export was sealed to another key\n" in closed.stderr
    private.write_bytes(OURS.private)
    there = cli("connections", "import", file, "--key", str(private))
    assert (there.exit_code, f"row 2 ({made.id}): id: a connection with this id" in there.stderr) == (1, True)
    assert cli("connections", "delete", made.id).exit_code == 0
    redis.Redis.from_url(os.environ["BROKER_REDIS_URL"]).flushall()
    back = cli("connections", "import", file, "--key", str(private), "--json")
    assert [one["connection_id"] for one in back.json["connections"]] == [made.id]
    assert cli("connections", "show", made.id, "--json").json["tenant"] == "acme"
    private.write_bytes(protected(X25519, b"open sesame"))
    locked = cli("connections", "import", file, "--key", str(private))
    assert (locked.exit_code, "passphrase" in locked.stderr) == (2, True)


def test_nobody_takes_an_import_back_by_mistake(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program has to say that it means what can't be mended; whoever interrupts the question has not answered."""
    batch = cli("connections", "import", make_file(a_row()), "--json").json["batch"]
    unsaid = cli("connections", "import", "--rollback", batch, "--force")
    assert (unsaid.exit_code, "--yes: required" in unsaid.stderr) == (2, True)
    for answer, code in ((KeyboardInterrupt, 130), (EOFError, 1), ("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", _Person(answer))
        assert cli("connections", "list", "--json").json["items"], answer
        assert cli("connections", "import", "--rollback", batch).exit_code == code
    assert cli("connections", "list", "--json").json["items"] == []


class _Person:
    """At a terminal."""

    def __init__(self, answer: str | type[BaseException]) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, _size: int = -1) -> str:
        """What the person types, or does."""
        if isinstance(self._answer, str):
            return self._answer
        raise self._answer


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "FILE: required"),
        (("nowhere.jsonl",), "No such file"),
        (("all.jsonl", "--existing", "replace"), "--existing: refuse, skip or add"),
        (("all.jsonl", "--format", "xls"), "there are: csv"),
        (("all.jsonl", "--key", "nowhere.pem"), "--key"),
        (("all.jsonl", "--map", "subject"), "--map"),
    ],
)
def test_what_can_not_be_meant_is_refused(cli: Cli, make_file: MakeFile, words: tuple[str, ...], said: str) -> None:
    """2, with the option that is wrong."""
    make_file(a_row())
    refused = cli("connections", "import", *words)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_file_that_changes_meanwhile_is_refused(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged must be what is stored."""
    file = make_file(*(a_row(number, made_by(sandbox, "api_key")["api_key"]) for number in range(3)))
    looks = iter(range(100))

    def changed(_: object) -> int:
        return next(looks)

    monkeypatch.setattr("broker.cli.import_file._state", changed)
    refused = cli("connections", "import", file)
    assert (refused.exit_code, "was changed" in refused.stderr) == (2, True)
    assert cli("connections", "list", "--json").json["items"] == []


@pytest.mark.parametrize("tenant", ["", " ", " acme", "ac\nme", "a" * 101])
@pytest.mark.parametrize(
    "command",
    [
        ("connections", "import", "FILE"),
        ("connections", "export", "-", "--to", "key.pem"),
        ("connections", "list"),
        ("connections", "create", "practice-key", "--subject", "ann"),
        ("events",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_what_is_no_tenant_is_not_taken_for_one(
    cli: Cli, make_file: MakeFile, raw_store: redis.Redis, command: tuple[str, ...], tenant: str
) -> None:
    """An empty one, such as a variable that isn't set, would be the default tenant, or everybody."""
    file = make_file(a_row())
    refused = cli(*(file if part == "FILE" else part for part in command), "--tenant", tenant)
    assert (refused.exit_code, "--tenant" in refused.stderr) == (2, True)
    assert b"con_" not in everything_in(raw_store)
