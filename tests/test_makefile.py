"""The make targets: each sets up what it needs, runs what its name says, and says loudly what it can't do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SELF_CONTAINED = ("install", "demo", "serve", "test", "check", "chaos", "bench", "lock")


def make(*arguments: str, directory: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs make as a person would: without what an outer `make test` and CI pass on to their children."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CI"}}
    return subprocess.run(
        [shutil.which("make") or "make", *arguments],
        cwd=directory,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("demo", ".venv/bin/broker demo --once"),
        ("serve", ".venv/bin/broker serve --once"),
        ("test", ".venv/bin/python -m pytest --once"),
        ("check", ".venv/bin/ruff format --check ."),
        ("check", ".venv/bin/ruff check ."),
        ("check", ".venv/bin/mypy"),
        ("check", ".venv/bin/lint-imports"),
        ("check", ".venv/bin/hadolint Dockerfile"),
        ("check", ".venv/bin/python -m pytest --once"),
        ("chaos", ".venv/bin/python -m tests.chaos --once"),
        ("bench", ".venv/bin/python -m bench --once"),
    ],
)
def test_a_target_runs_what_its_name_says(target: str, command: str) -> None:
    """Each command comes out of .venv, and ARGS reaches the one the target is named for."""
    plan = make("--dry-run", target, "ARGS=--once")
    assert plan.returncode == 0, plan.stderr
    assert command in plan.stdout.splitlines()


def test_lock_resolves_for_every_machine_and_writes_no_address() -> None:
    """Every lock is made with hashes, for all platforms, and without this machine's package configuration."""
    commands = [line for line in make("--dry-run", "lock").stdout.splitlines() if "pip compile" in line]
    assert len(commands) == 3
    for command in commands:
        assert all(option in command for option in ("--generate-hashes", "--universal", "--no-config"))
        assert "--emit" not in command


@pytest.mark.parametrize("target", SELF_CONTAINED)
def test_a_target_sets_itself_up(target: str) -> None:
    """In a clone without .venv, each target that needs it makes it first, from hashes."""
    plan = make("--dry-run", "--always-make", target)
    assert "install --require-hashes -r requirements-dev.lock" in plan.stdout


def test_make_alone_lists_the_targets() -> None:
    """`make` explains itself, and names no target that has no content yet."""
    listed = re.findall(r"^  make (\w+) ", make().stdout, flags=re.MULTILINE)
    assert set(SELF_CONTAINED) <= set(listed)


@pytest.fixture
def bare_clone(tmp_path: Path) -> tuple[Path, str]:
    """A clone, and a PATH without Python, apt-get or a browser."""
    for name in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "id").symlink_to(shutil.which("id") or "/usr/bin/id")
    return tmp_path, str(tools)


def test_without_a_fitting_python_install_says_what_is_needed(bare_clone: tuple[Path, str]) -> None:
    """No interpreter: a message that says what to install, and no half-made .venv."""
    clone, path = bare_clone
    answer = make("install", "PYTHON=no-such-python", directory=clone, PATH=path)
    assert answer.returncode != 0
    assert "Python 3.11 or newer with its venv module is needed; none among: no-such-python" in answer.stderr
    assert "apt-get install python3-venv" in answer.stderr
    assert not (clone / ".venv").exists()


def test_without_chromium_a_person_is_told_and_ci_fails(bare_clone: tuple[Path, str]) -> None:
    """Browser tests are never left out silently, and in CI they may not be left out at all."""
    clone, path = bare_clone
    told = make("browser", directory=clone, PATH=path)
    assert told.returncode == 0
    assert "No Chromium here" in told.stderr
    assert make("browser", directory=clone, PATH=path, CI="true").returncode != 0


def test_without_wrk_a_person_is_told_and_ci_fails(bare_clone: tuple[Path, str]) -> None:
    """The tests of the measurements can be left out elsewhere; measuring itself can't go on without it."""
    clone, path = bare_clone
    told = make("wrk", directory=clone, PATH=path)
    assert told.returncode == 0
    assert "No wrk here" in told.stderr
    assert "apt-get install wrk" in told.stderr
    assert make("wrk", directory=clone, PATH=path, CI="true").returncode != 0
