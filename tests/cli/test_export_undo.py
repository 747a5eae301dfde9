"""An export that switches connections off, and doesn't come to its end: they are switched on again, or it is said."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving import switching_off
from broker.models.connection import Connection
from broker.vault import names
from tests.cli.conftest import Cli
from tests.cli.test_exporting import connections_in
from tests.connections.moving.sealing import OURS
from tests.waiting import until

AtHeart = Callable[[Callable[[Heart], Coroutine[Any, Any, Any]]], Any]
MakeConnection = Callable[..., Connection]
_PATIENCE = 60


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A file with the public key."""
    path = tmp_path / "recipient.pem"
    path.write_bytes(OURS.public)
    return str(path)


@pytest.fixture
def several(make_connection: MakeConnection) -> list[Connection]:
    """Connections; the last one is being refreshed, and will be for as long as a test takes."""
    return [make_connection() for _ in range(3)]


def statuses(raw_store: redis.Redis, connections: list[Connection]) -> list[str]:
    """As they are here."""
    return [raw_store.hget(names.record(each.id), "st").decode() for each in connections]  # type: ignore[union-attr]


@contextmanager
def in_the_middle(
    raw_store: redis.Redis, several: list[Connection], *words: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """``export --switch-off``, which has switched all off but the last, and waits for that."""
    *others, last = several
    raw_store.set(names.lease(last.id), "refresher", px=60_000)
    command = [sys.executable, "-m", "broker.cli.main", "connections", "export", *words, "--switch-off"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: process.poll() is not None or statuses(raw_store, others) == ["disabled"] * len(others))
            assert process.poll() is None
            yield process
        finally:
            process.kill()
    raw_store.delete(names.lease(last.id))


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_end_switches_on_again(
    cli: Cli, raw_store: redis.Redis, several: list[Connection], key: str, tmp_path: Path, number: int, exit_code: int
) -> None:
    """Before it ends; there is no file, and no line of one."""
    with in_the_middle(raw_store, several, str(tmp_path / "out"), "--to", key) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == exit_code, said
    assert "2 connections that were switched off are on again" in said.decode()
    assert statuses(raw_store, several) == ["active"] * 3
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_after_one_that_was_killed_the_next_switches_on_again(
    cli: Cli, raw_store: redis.Redis, several: list[Connection], key: str, tmp_path: Path
) -> None:
    """And says so. With nothing about it but what stands in the store."""
    with in_the_middle(raw_store, several, str(tmp_path / "out"), "--to", key) as process:
        process.kill()
    assert statuses(raw_store, several) == ["disabled", "disabled", "active"]
    (member,) = raw_store.zrange(names.EXPORTS, 0, -1)
    assert isinstance(member, bytes)
    export_id = member.decode()
    # As it does by itself, a few seconds later.
    assert raw_store.delete(names.leader(switching_off.lead_of(export_id)))
    result = cli("connections", "export", str(tmp_path / "next"), "--to", key)
    assert result.exit_code == 0, result.stderr
    assert f"{export_id} was broken off: 2 connections that it switched off are on again" in result.stderr
    assert statuses(raw_store, several) == ["active"] * 3
    assert {each.status for each in connections_in(tmp_path / "next")} == {"active"}
    assert "was broken off" not in cli("connections", "export", str(tmp_path / "third"), "--to", key).stderr


def test_an_export_can_be_undone_when_it_is_asked_for(
    cli: Cli, raw_store: redis.Redis, several: list[Connection], key: str, tmp_path: Path
) -> None:
    """Its file was lost, say. Twice does no harm."""
    done = cli("connections", "export", str(tmp_path / "out"), "--to", key, "--switch-off", "--json").json
    assert statuses(raw_store, several) == ["disabled"] * 3
    result = cli("connections", "export", "--undo", done["export"], "--yes", "--json")
    assert (result.exit_code, result.json) == (
        0, {"export": done["export"], "switched_on": 3, "left_off": []}
    )  # fmt: skip
    assert statuses(raw_store, several) == ["active"] * 3
    assert cli("connections", "export", "--undo", done["export"], "--json").json["switched_on"] == 0


def test_what_is_to_be_done_has_to_be_said(cli: Cli, key: str) -> None:
    """A file and a key, or what to undo."""
    for words, named in (((), ("FILE", "--to")), (("--to", key), ("FILE",)), (("out",), ("--to",))):
        result = cli("connections", "export", *words)
        assert result.exit_code == 2
        assert all(f"{name}: required" in result.stderr for name in named)
    assert cli("connections", "export", "--undo", "exp_unknown").exit_code == 1


def test_where_nobody_reads_nothing_is_left_switched_off(
    cli: Cli, raw_store: redis.Redis, make_connection: MakeConnection, key: str
) -> None:
    """The program behind the pipe is gone, and of so little nothing would be noticed before the end."""
    connection = make_connection()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "broker.cli.main", "connections", "export", "-", "--to", key, "--switch-off"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=_PATIENCE, check=False)
    os.close(writing)
    assert done.returncode == 1, done.stderr
    assert b"the file can't be written: Broken pipe" in done.stderr
    assert b"Traceback" not in done.stderr
    assert statuses(raw_store, [connection]) == ["active"]


def test_what_may_have_been_read_is_not_switched_on_again(
    cli: Cli,
    raw_store: redis.Redis,
    several: list[Connection],
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whatever fails after the last line was handed out: what to do then is said."""
    leave = switching_off.SwitchingOff.leave

    async def left(self: switching_off.SwitchingOff) -> None:
        await leave(self)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(switching_off.SwitchingOff, "leave", left)
    with (tmp_path / "piped").open("wb") as out:
        monkeypatch.setattr(sys, "stdout", out)
        result = cli("connections", "export", "-", "--to", key, "--switch-off")
    assert result.exit_code == 1
    assert "--undo exp_" in result.stderr
    assert statuses(raw_store, several) == ["disabled"] * 3
