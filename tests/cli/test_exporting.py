"""``broker connections export``."""

import base64
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.cli.private_file import new_private_file
from broker.connections.moving.row import Row
from broker.errors import Conflict
from broker.models.connection import Connection
from broker.vault import names
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.replicas import Replicas
from tests.cli.conftest import Cli, Running
from tests.connections.moving.sealing import OURS, THEIRS, read

AtHeart = Callable[[Callable[[Heart], Coroutine[Any, Any, Any]]], Any]
MakeConnection = Callable[..., Connection]


@pytest.fixture
def other_store_server(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """Another broker's."""
    server = EmbeddedStore(tmp_path / "other" / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A file with the public key."""
    path = tmp_path / "recipient.pem"
    path.write_bytes(OURS.public)
    return str(path)


def connections_in(file: Path | bytes) -> list[Connection]:
    """Whom a whole file holds."""
    rows = list(read(file if isinstance(file, bytes) else file.read_bytes()))
    assert all(isinstance(row, Row) for row in rows)
    return [row.restored.connection for row in rows if isinstance(row, Row) and row.restored is not None]


def test_a_file_for_one_reader(cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path) -> None:
    """Every tenant's connections; readable by its owner alone, whose key opens it; a summary of what it holds."""
    made = [make_connection(), make_connection(tenant="other", subject="bob")]
    file = tmp_path / "out.export"
    result = cli("connections", "export", str(file), "--to", key, "--json")
    assert result.exit_code == 0, result.stderr
    assert {connection.id for connection in connections_in(file)} == {connection.id for connection in made}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (result.json["connections"], result.json["skipped"], result.json["file"]) == (2, [], str(file))
    assert result.json["export"].startswith("exp_")
    assert list(tmp_path.glob(".out*")) == []


def test_another_broker_takes_it_in(
    cli: Cli,
    at_heart: AtHeart,
    make_connection: MakeConnection,
    key: str,
    tmp_path: Path,
    other_store_server: EmbeddedStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With other keys and another store, by the private key: the same connections with the same credentials; a wrong
    key brings nothing in."""
    made = [make_connection(), make_connection(tenant="other", subject="bob")]

    def held() -> list[object]:
        async def read_all(heart: Heart) -> list[object]:
            return [await heart.records.read_with_credential(connection.id) for connection in made]

        found: list[object] = at_heart(read_all)
        return found

    before, file = held(), tmp_path / "out.export"
    assert cli("connections", "export", str(file), "--to", key).exit_code == 0
    (tmp_path / "private.pem").write_bytes(OURS.private)
    (tmp_path / "wrong.pem").write_bytes(THEIRS.private)
    monkeypatch.setenv("BROKER_REDIS_URL", other_store_server.url)
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", "k9:" + base64.b64encode(bytes(range(60, 92))).decode())
    assert held() == [None, None]
    refused = cli("connections", "import", str(file), "--key", str(tmp_path / "wrong.pem"))
    assert refused.exit_code == 1
    assert "sealed to another key" in refused.stderr + refused.stdout
    assert held() == [None, None]
    taken = cli("connections", "import", str(file), "--key", str(tmp_path / "private.pem"))
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    assert held() == before


def test_only_those_that_are_asked_for(cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path) -> None:
    """By tenant, provider, subject and status."""
    for other in ({"tenant": "other"}, {"subject": "bob"}, {"provider": "practice-two"}):
        make_connection(**other)
    wanted = make_connection()
    file = tmp_path / "out"
    flags = ("--tenant", "default", "--provider", "practice", "--subject", "ann", "--status", "active")
    result = cli("connections", "export", str(file), "--to", key, *flags)
    assert result.exit_code == 0, result.stderr
    assert [connection.id for connection in connections_in(file)] == [wanted.id]
    refused = cli("connections", "export", str(tmp_path / "x"), "--to", key, "--status", "revoked")
    assert refused.exit_code == 2


def test_nothing_is_overwritten(cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path) -> None:
    """A file of that name stays as it is, and no connection is said to have left."""
    make_connection()
    file = tmp_path / "out"
    file.write_text("mine")
    result = cli("connections", "export", str(file), "--to", key)
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert file.read_text() == "mine"
    assert "connection.exported" not in cli("events", "--json").stdout
    assert cli("connections", "export", str(tmp_path / "nowhere" / "x"), "--to", key).exit_code == 2


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody else's, of the same name."""
    path = tmp_path / "out"
    with pytest.raises(Conflict, match="is there already"), new_private_file(path):
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_file_is_made_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems know none."""

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with new_private_file(tmp_path / "out") as file:
        file.write(b"ours")
    assert (tmp_path / "out").read_bytes() == b"ours"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_a_file_whose_name_may_not_last_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told that there is none has it under no name."""
    fsync = os.fsync

    def folders_fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            _full()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", folders_fail)
    with pytest.raises(Conflict, match="No space left"), new_private_file(tmp_path / "out") as file:
        file.write(b"ours")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_no_file(
    cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store goes away in the middle, say: half a file would look like one."""
    make_connection()
    monkeypatch.setenv("BROKER_REDIS_URL", "redis://127.0.0.1:1/0")
    result = cli("connections", "export", str(tmp_path / "out"), "--to", key)
    assert result.exit_code == 3
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []


def test_a_private_key_is_refused_before_anything_is_made(cli: Cli, tmp_path: Path) -> None:
    """As is what is no key, or isn't there."""
    private = tmp_path / "private.pem"
    private.write_bytes(OURS.private)
    for path, words in ((private, "is a private key"), (tmp_path / "nowhere", "can't be read")):
        result = cli("connections", "export", str(tmp_path / "out"), "--to", str(path))
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"--to: {words}" in result.stderr
        assert OURS.private.decode()[60:80] not in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_can_t_be_opened_is_named(
    cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path, raw_store: redis.Redis
) -> None:
    """The file is made of the others, and the command ends with 1."""
    good, bad = make_connection(), make_connection()
    raw_store.hset(names.record(bad.id), "a", b"broken")
    file = tmp_path / "out"
    result = cli("connections", "export", str(file), "--to", key)
    assert result.exit_code == 1
    assert f"not to be relied upon: {bad.id}" in result.stderr
    assert [connection.id for connection in connections_in(file)] == [good.id]


def test_exported_connections_can_be_switched_off(
    cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path
) -> None:
    """Here they serve nobody any more; in the file they are as they were. Without the option nothing changes."""
    connection = make_connection()
    cli("connections", "export", str(tmp_path / "first"), "--to", key)
    assert cli("connections", "show", connection.id, "--json").json["status"] == "active"
    result = cli("connections", "export", str(tmp_path / "second"), "--to", key, "--switch-off", "--json")
    assert (result.exit_code, result.json["switched_off"]) == (0, 1)
    assert cli("connections", "show", connection.id, "--json").json["status"] == "disabled"
    (taken,) = connections_in(tmp_path / "second")
    assert (taken.status, taken.generation) == ("active", 1)


def test_without_a_file_they_are_switched_on_again(
    cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever kept the file from being made: a full disk, say."""
    connection = make_connection()
    with monkeypatch.context() as full:
        full.setattr(os, "link", lambda *_: _full())
        full.setattr(Path, "rename", lambda *_: _full())
        result = cli("connections", "export", str(tmp_path / "out"), "--to", key, "--switch-off")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == []
    assert cli("connections", "show", connection.id, "--json").json["status"] == "active"
    types = [event["type"] for event in cli("events", "--connection", connection.id, "--json").json["items"]]
    assert types[:3] == ["connection.enabled", "connection.exported", "connection.disabled"]


def _full() -> None:
    raise OSError(28, "No space left on device")


def test_it_can_go_through_a_pipe(running: Running, tmp_path: Path, key: str) -> None:
    """``-`` is standard output, with nothing on it but the file; the rest is said beside it."""
    command = [sys.executable, "-m", "broker.cli.main", "connections", "export", "-", "--to", key]
    done = subprocess.run(command, env={**os.environ, **running.environ}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert connections_in(done.stdout) == []
    assert b"0 connections exported" in done.stderr


def test_that_a_broker_runs_is_said(cli: Cli, at_heart: AtHeart, key: str, tmp_path: Path) -> None:
    """What it refreshes from now on is newer than the file, unless all were switched off."""
    assert "A broker runs here" not in cli("connections", "export", str(tmp_path / "a"), "--to", key).stderr
    # A process that lives and has not signed off.
    at_heart(lambda heart: Replicas(heart.store, heart.keyring).beat("worker"))
    result = cli("connections", "export", str(tmp_path / "b"), "--to", key, "--json")
    assert "A broker runs here" in result.stderr
    assert result.json["running"] == 1


def test_who_exported_what_can_be_looked_up(
    cli: Cli, make_connection: MakeConnection, key: str, tmp_path: Path
) -> None:
    """Each connection's events name the export and the key that it went to."""
    connection = make_connection()
    summary = cli("connections", "export", str(tmp_path / "out"), "--to", key, "--json").json
    (event,) = cli("events", "--type", "connection.exported", "--json").json["items"]
    assert event["connection_id"] == connection.id
    assert event["data"]["export"] == summary["export"]
    assert event["data"]["recipient"] == summary["recipient"]
