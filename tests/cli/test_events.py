"""``broker events``."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.models.connection import Connection
from tests.cli.conftest import Cli
from tests.processes import broker_environment, broker_process
from tests.waiting import until


def test_what_happened_is_shown_newest_first(cli: Cli, make_connection: Callable[..., Connection]) -> None:
    """The record of the tenant, or of one connection, has what was done by the command before."""
    first, second = make_connection(), make_connection()
    foreign = make_connection(tenant="acme")
    cli("connections", "delete", first.id)

    def shown(*flags: str) -> list[tuple[str, str]]:
        items = cli("events", "--json", *flags).json["items"]
        return [(item["type"], item["connection_id"]) for item in items]

    made, ended, settled = "connection.created", "connection.revoked", "revocation.settled"
    assert shown() == [(settled, first.id), (ended, first.id), (made, second.id), (made, first.id)]
    assert shown("--connection", first.id) == [(settled, first.id), (ended, first.id), (made, first.id)]
    assert shown("--limit", "1") == [(settled, first.id)]
    assert shown("--connection", foreign.id) == [(made, foreign.id)]
    table = cli("events", "--connection", first.id).stdout
    assert ended in table
    assert second.id not in table


def test_one_type_is_shown_alone_and_looked_for_behind_others(
    cli: Cli, make_connection: Callable[..., Connection]
) -> None:
    """``--type`` leaves the others out; a page that has none of it is passed over."""
    first, second = make_connection(), make_connection()
    for connection in (first, second):
        cli("connections", "delete", connection.id)

    def shown(*flags: str) -> list[str]:
        return [item["connection_id"] for item in cli("events", "--json", *flags).json["items"]]

    assert shown("--type", "connection.created") == [second.id, first.id]
    assert shown("--type", "connection.created", "--limit", "1") == [second.id]
    assert shown("--type", "connection.created", "--connection", first.id) == [first.id]
    assert shown("--type", "nothing.such") == []


def test_a_cut_record_goes_on_at_its_cursor(cli: Cli, make_connection: Callable[..., Connection]) -> None:
    """``--cursor`` continues where ``--limit`` cut."""
    make_connection()
    make_connection()
    page = cli("events", "--limit", "1", "--json").json
    rest = cli("events", "--cursor", page["next_cursor"], "--json").json["items"]
    assert len(rest) == 1
    assert rest[0]["id"] != page["items"][0]["id"]
    assert f"--cursor {page['next_cursor']}" in cli("events", "--limit", "1").stderr


def test_an_unknown_connection_has_no_record(cli: Cli) -> None:
    """It ends with 1; a cursor that is none with 2."""
    assert cli("events", "--connection", "con_" + "0" * 22).exit_code == 1
    assert cli("events", "--cursor", "nonsense").exit_code == 2


def test_a_command_moves_nothing_past_the_sink_of_the_broker_that_runs(
    run_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that is stalled the command shows what has arrived, says how many wait, and goes well; the sink misses
    nothing once it takes lines again."""
    pipe = tmp_path / "collector"
    os.mkfifo(pipe)
    environ = broker_environment(tmp_path, {})
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)

    def shown() -> list[str]:
        return [item["id"] for item in run_here("events", "--json").json["items"]]

    with broker_process({**environ, "BROKER_EVENTS_SINK": f"file:{pipe}"}):
        assert run_here("clients", "create", "app", "--scope", "tokens:read").exit_code == 0
        result = run_here("events", "--json")
        assert (result.exit_code, result.json["items"]) == (0, [])
        assert "(1)" in result.stderr
        # Its reader and nobody's end: each batch opens and closes the pipe.
        with os.fdopen(os.open(pipe, os.O_RDWR), "rb") as collector:
            until(shown)
            line: dict[str, Any] = json.loads(collector.readline())
        assert (line["type"], [line["id"]]) == ("client.created", shown())


def test_lines_for_the_sink_never_stand_in_an_answer(
    cli: Cli, make_connection: Callable[..., Connection], tmp_path: Path
) -> None:
    """Where the sink is the standard output and no broker runs, events wait; the command says how many."""
    make_connection()
    command = [sys.executable, "-m", "broker.cli.main", "events", "--json"]
    environ = {**os.environ, "BROKER_EVENTS_SINK": "stdout"}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["items"] == []
    assert "(1)" in done.stderr
    assert len(cli("events", "--json").json["items"]) == 1
