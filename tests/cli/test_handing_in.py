"""A credential is asked for at a terminal: field by field, and what is secret isn't shown while it is typed."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.kinds.cases import ALICE, ALICE_KEY, made_by

PASSWORD = "practice-password-alice"
_PATIENCE = 60.0
_FILE = "Path of a file that holds it: "


@dataclass(frozen=True)
class Typed:
    """How a command ended at whose terminal somebody typed."""

    exit_code: int
    screen: str
    stdout: str

    @property
    def connection(self) -> Any:
        """The connection that was printed."""
        return json.loads(self.stdout)


def typed(provider: str, answers: Mapping[str, str]) -> Typed:
    """``connections create`` at a terminal where somebody gives these answers, each to the question that ends so.

    Its last space is shown when the terminal has stopped to show what is typed.
    """
    terminal, its_end = pty.openpty()
    words = ("connections", "create", provider, "--subject", "ann", "--json")
    command = [sys.executable, "-m", "broker.cli.main", *words]
    with subprocess.Popen(
        command, stdin=its_end, stderr=its_end, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        os.close(its_end)
        screen = ""
        try:
            for question, answer in answers.items():
                screen += _until_asked(terminal, question)
                os.write(terminal, f"{answer}\n".encode())
            screen += _rest(terminal)
        except AssertionError:
            # It would be waited for, and it waits for an answer to another question.
            process.kill()
            raise
        stdout = process.stdout.read() if process.stdout else ""
    os.close(terminal)
    return Typed(process.returncode, screen, stdout)


def _until_asked(terminal: int, question: str) -> str:
    """What is shown up to the end of the question."""
    shown = ""
    while not shown.endswith(question):
        assert select.select([terminal], [], [], _PATIENCE)[0], f"asked something else than {question!r}: {shown!r}"
        shown += os.read(terminal, 1000).decode()
    return shown


def _rest(terminal: int) -> str:
    """What is shown until the command ends."""
    shown = b""
    try:
        while part := os.read(terminal, 1000):
            shown += part
    except OSError:
        # So ends a terminal that nobody holds any more.
        pass
    return shown.decode()


@pytest.fixture(autouse=True)
def _world(environment: None, sandbox: httpx2.Client) -> None:
    """The configured broker, and the practice provider as it was at the start."""


def test_secrets_are_not_shown_while_they_are_typed() -> None:
    """Other fields are; what is optional may be left out."""
    result = typed(
        "practice-basic",
        {"User name (without a colon): ": "alice@practice.example", "Password: ": PASSWORD, "Domain (optional): ": ""},
    )
    assert (result.exit_code, result.connection["account"]) == (0, ALICE)
    assert "User name (without a colon): alice@practice.example" in result.screen
    assert "Domain (optional): " in result.screen
    assert PASSWORD not in result.screen + result.stdout
    assert result.stdout.startswith("{")


def test_the_person_is_told_where_to_find_it() -> None:
    """In the provider's words, and what it looks like."""
    result = typed("practice-key", {"API key (it starts with pk_): ": ALICE_KEY})
    assert (result.exit_code, result.connection["account"]) == (0, ALICE)
    assert "Practice, Settings, API keys: make one that can read messages." in result.screen
    assert "API key (it starts with pk_): " in result.screen
    assert ALICE_KEY not in result.screen + result.stdout


def test_a_file_is_named_not_pasted(tmp_path: Path, sandbox: httpx2.Client) -> None:
    """A key of many lines would end at the first."""
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps(made_by(sandbox, "google_service_account")))
    result = typed("practice-service-account", {_FILE: str(key_file), "Act as this user (optional): ": ""})
    assert (result.exit_code, result.connection["status"]) == (0, "active")
    missing = typed("practice-service-account", {_FILE: f"{key_file}.gone"})
    assert (missing.exit_code, "Key file: No such file or directory" in missing.screen) == (2, True)
