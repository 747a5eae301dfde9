"""The secrets of a deployment, made as an operator makes them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "deploy" / "make-secrets"

MakeSecrets = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture
def make_secrets() -> MakeSecrets:
    """Runs the script that an operator runs once, for a directory of the test's."""
    return lambda directory: subprocess.run([SCRIPT, directory], capture_output=True, text=True, check=False)


@pytest.fixture
def secrets(make_secrets: MakeSecrets, tmp_path: Path) -> Path:
    """A directory of freshly made secrets."""
    directory = tmp_path / "secrets"
    made = make_secrets(directory)
    assert made.returncode == 0, made.stderr
    return directory
