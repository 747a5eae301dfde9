"""What ``broker connections import`` says to people and to programs, while it is at it and afterwards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from broker.cli.progress import how_far
from tests.cli.conftest import Cli, MakeFile
from tests.cli.test_importing import a_row


def test_people_are_told_what_is_wrong_with_twenty_rows(cli: Cli, make_file: MakeFile) -> None:
    """A mistake of the whole file in one line; programs are told each row's; nobody what stood there."""
    secret = "no-key-but-a-secret"
    rows = [a_row(number, secret) for number in range(1, 31)]
    rows += [a_row(31, secret, source_id=None), a_row(32, subject=""), a_row(33, subject="")]
    refused = cli("connections", "import", make_file(*rows))
    assert refused.exit_code == 1
    wrong = "does not look like one: it starts with pk_"
    assert refused.stderr.splitlines()[1:4] == [
        f"row 1 (theirs-1), 2 (theirs-2), 3 (theirs-3) and 28 more: credentials.api_key: {wrong}",
        "row 32 (theirs-32), 33 (theirs-33): subject: required: whose connection it is",
        "Nothing of the file was taken in. Mend what is named, and import it again.",
    ]
    told = cli("connections", "import", make_file(*rows), "--json")
    assert (told.exit_code, len(told.json["faults"]), told.json["connections"]) == (1, 33, [])
    assert [told.json["faults"][at]["source_id"] for at in (0, 30)] == ["theirs-1", None]
    assert secret not in refused.stdout + refused.stderr + told.stdout + told.stderr


def test_people_are_told_twenty_lines_of_faults(cli: Cli, tmp_path: Path) -> None:
    """A fault of no field begins with what is wrong."""
    file = tmp_path / "all.jsonl"
    file.write_text("{nothing\n" + "".join(f'{{"member{chr(97 + each)}": 1}}\n' for each in range(22)))
    refused = cli("connections", "import", str(file)).stderr.splitlines()[1:]
    assert refused[0].startswith("row 1: is no JSON")
    assert refused[19].startswith("row 20: members: unknown")
    assert refused[20] == "and 3 more (--json says all)"


def test_a_provider_that_is_away_pauses_with_an_exit_code_of_its_own(
    cli: Cli, make_file: MakeFile, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how to go on, and how to give it up."""
    monkeypatch.setattr("broker.connections.moving.verifying.PAUSES", ())
    monkeypatch.setattr("broker.connections.moving.verifying.Verifying.__init__.__defaults__", ((),))
    sandbox.post("/control", json={"api_fault": "busy", "retry_after": 600}).raise_for_status()
    file = make_file(a_row())
    paused = cli("connections", "import", file)
    assert paused.exit_code == 3
    assert re.search(r"The same command goes on where it was, again after \d\d:\d\d:\d\d\.\n", paused.stderr)
    assert cli("connections", "import", file, "--json").json["again_at"].endswith("Z")
    (batch,) = cli("connections", "import", "--batches", "--json").json["items"]
    assert batch["state"] == "paused"
    assert f"--rollback {batch['batch']}" in paused.stderr
    sandbox.post("/control", json={"reset": True}).raise_for_status()
    assert cli("connections", "import", file, "--json").json["batch"] == batch["batch"]


def test_a_reader_that_goes_away_is_no_fault_of_the_file(
    environment: None, cli: Cli, make_file: MakeFile, sandbox: httpx2.Client
) -> None:
    """``| head`` closes the pipe; what was taken in is there all the same."""
    command = [sys.executable, "-m", "broker.cli.main", "connections", "import", make_file(a_row()), "--json"]
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ended = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(writes)
    assert ended.stderr.splitlines()[-1].startswith(("verifying", "publishing"))
    assert len(cli("connections", "list", "--json").json["items"]) == 1


def test_progress_says_how_far_how_fast_and_how_long_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line when a step begins, one every few seconds, and one that says all of it."""
    moments = iter([10.0, 10.0, 12.0, 12.0, 16.0, 16.0, 17.0, 17.0, 18.0, 18.0, 19.0, 19.0])
    monkeypatch.setattr("broker.cli.progress.time.monotonic", lambda: next(moments))
    with how_far() as tell:
        tell("storing", 100, 1000)
        tell("storing", 300, 1000)
        tell("storing", 700, 1000)
        tell("storing", 1000, 1000)
        tell("publishing", 5, None)
        tell("publishing", 6, None)
    assert capsys.readouterr().err.splitlines() == [
        "storing 100 of 1000",
        "storing 700 of 1000, 100/s, 3 s left",
        "storing 1000 of 1000, 128/s",
        "publishing 5",
        "publishing 6, 1/s",
    ]


def test_what_is_wrong_with_a_whole_line_names_no_field(cli: Cli, tmp_path: Path) -> None:
    """And says what to do where columns are called otherwise."""
    (tmp_path / "theirs.csv").write_text("user_id,access_token,created_by\nann,at,me\n")
    refused = cli("connections", "import", "theirs.csv", "--provider", "practice")
    assert refused.exit_code == 1
    assert "row 1: the first line must name the columns" in refused.stderr
    assert "--map" in refused.stderr
