"""``broker connections import --ids``: which row became which connection, for whoever has to follow."""

import csv
import errno
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import redis

from tests.cli.conftest import Cli, MakeFile
from tests.cli.test_importing import a_row
from tests.journey import everything_in
from tests.kinds.cases import made_by

CALCULATED = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "x=1", "4711"]


def _there_already(path: Path) -> None:
    path.write_text("somebody's")


def _a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _no_folder(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize("obstacle", [_there_already, _a_link, _no_folder])
def test_whoever_cannot_have_the_file_learns_it_first(
    cli: Cli,
    make_file: MakeFile,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    tmp_path: Path,
    obstacle: Callable[[Path], None],
) -> None:
    """Nothing is asked and nothing imported; what stands there stays, and no link is followed."""
    ids = tmp_path / "out" / "ids.csv"
    ids.parent.mkdir()
    obstacle(ids)
    refused = cli("connections", "import", make_file(a_row()), "--ids", str(ids))
    assert (refused.exit_code, "--ids: " in refused.stderr) == (2, True)
    assert sandbox.get("/counters").json()["whoami"] == 0
    assert b"con_" not in everything_in(raw_store)
    assert not ids.exists() or ids.read_text() == "somebody's"
    assert not (ids.parent / "elsewhere").exists()


def test_the_file_is_its_owners_alone(cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, tmp_path: Path) -> None:
    """And nothing lies beside it."""
    ids = tmp_path / "out" / "ids.jsonl"
    ids.parent.mkdir()
    assert cli("connections", "import", make_file(a_row()), "--ids", str(ids)).exit_code == 0
    assert stat.S_IMODE(ids.stat().st_mode) == 0o600
    assert list(ids.parent.iterdir()) == [ids]


@pytest.mark.parametrize("options", [("--dry-run",), ("--no-verify", "--format", "nango"), ()])
def test_where_nothing_was_imported_there_is_no_file(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """So that the same command can be run again."""
    ids = tmp_path / "out" / "ids.csv"
    ids.parent.mkdir()
    wrong = a_row(key="pk_practice_nobody_0001") if not options else a_row()
    ended = cli("connections", "import", make_file(wrong), "--ids", str(ids), *options)
    assert ended.exit_code == (0 if options == ("--dry-run",) else 1)
    assert list(ids.parent.iterdir()) == []


def test_it_is_there_also_where_some_could_not_be_refreshed(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, tmp_path: Path
) -> None:
    """They were imported."""
    row = {"provider": "practice-strict", "subject": "ann", "credentials": {"refresh_token": "prt_nobodys"}}
    ids = tmp_path / "ids.csv"
    assert cli("connections", "import", make_file(row), "--refresh", "--ids", str(ids)).exit_code == 1
    assert "con_" in ids.read_text()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_no_cell_is_calculated(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, tmp_path: Path, suffix: str
) -> None:
    """A spreadsheet runs what begins like a formula; other systems' ids are anybody's text. JSON stays exact."""
    ids = tmp_path / f"ids.{suffix}"
    rows = [
        a_row(number, made_by(sandbox, "api_key")["api_key"], source_id=text, subject=f"{text}{number}")
        for number, text in enumerate(CALCULATED)
    ]
    assert cli("connections", "import", make_file(*rows), "--ids", str(ids)).exit_code == 0
    if suffix == "jsonl":
        told = [json.loads(line) for line in ids.read_text().splitlines()]
        assert [one["source_id"] for one in told] == CALCULATED
        return
    table = list(csv.DictReader(io.StringIO(ids.read_text(), newline="")))
    expected = [f"'{text}" if text[0] in "=+-@\t" else text for text in CALCULATED]
    assert [one["source_id"] for one in table] == expected
    assert [one["subject"] for one in table] == [f"{text}{number}" for number, text in enumerate(expected)]


def test_a_full_disk_is_said_and_the_import_is_done(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command with another file tells the ids."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = make_file(a_row())
    with monkeypatch.context() as broken:
        broken.setattr("broker.cli.import_ids._write", full)
        ended = cli("connections", "import", file, "--ids", str(tmp_path / "ids.csv"))
    assert (ended.exit_code, "--ids: No space left on device; all is imported" in ended.stderr) == (2, True)
    assert not (tmp_path / "ids.csv").exists()
    assert "already" in cli("connections", "import", file, "--json", "--ids", str(tmp_path / "ids.csv")).stdout
    assert "con_" in (tmp_path / "ids.csv").read_text()
