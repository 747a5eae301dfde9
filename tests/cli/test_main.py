"""The console script: which commands there are, how it fails, and what it doesn't load."""

import re
import subprocess
import sys

import pytest

from broker.cli.main import main
from tests.cli.conftest import Cli

COMMANDS = {
    "serve": [],
    "demo": [],
    "connect": [],
    "doctor": [],
    "clients": ["create", "list", "show", "rotate", "delete"],
    "providers": ["list", "check", "add"],
    "connections": ["create", "update", "import", "export", "list", "show", "test", "refresh", "delete"],
    "keys": ["generate", "status", "rotate"],
    "events": [],
    "config": ["schema"],
    "devices": ["list", "end"],
    "login": [],
    "token": [],
    "exec": [],
    "git-credential": [],
    "logout": [],
    "whoami": [],
}


def listed(help_text: str) -> list[str]:
    """The commands that a help text lists."""
    lines = help_text.partition("Commands:\n")[2].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]


def test_exactly_the_commands_of_this_version_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists them all, none that isn't there yet, and every group lists its own."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert sorted(listed(capsys.readouterr().out)) == sorted(COMMANDS)
    for group, subcommands in COMMANDS.items():
        with pytest.raises(SystemExit) as ended:
            main([group, "--help"])
        assert ended.value.code == 0
        assert listed(capsys.readouterr().out) == subcommands


@pytest.mark.parametrize("words", [["sign"], ["tokens", "practice"], ["clients", "publish"], ["connections", "merge"]])
def test_what_does_not_exist_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command ends with 2 and a line that names it."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "No such command" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` prints name and version, and nothing else happens."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "broker 0.1.0\n"


def test_every_fault_of_the_settings_is_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faulty settings end a command with 2: one line each on stderr, naming the variable and not its value."""
    monkeypatch.setenv("BROKER_WORKERS", "canary-value")
    monkeypatch.setenv("BROKER_PROT", "1")
    result = cli("clients", "list")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["BROKER_PROT", "BROKER_WORKERS"]
    assert "canary-value" not in result.stderr


def test_an_unreachable_store_ends_with_3(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its store a command ends with 3 and one line that doesn't hold the store's password."""  # K1
    monkeypatch.setenv("BROKER_REDIS_URL", "redis://:canary-password@127.0.0.1:1")
    result = cli("clients", "list")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert "canary-password" not in result.stderr


@pytest.mark.parametrize("module", ["typer", "pydantic", "broker.cli.events", "broker.app.heart"])
def test_ctrl_c_while_it_loads_is_silent(module: str) -> None:
    """Whichever module is just being loaded: it ends with 130, and prints nothing."""
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from broker.cli.main import main
main(["events"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``code``."""
    report = f"{code}\nimport sys\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", report], text=True).split())


def test_serve_loads_only_what_it_needs() -> None:
    """The parent process of ``serve`` starts without what only workers, tables and other commands need."""
    modules = loaded_after("from broker.cli.application import application\napplication(['serve'])")
    assert "broker.app.supervisor" in modules
    assert modules & {"rich", "httpx2", "redis", "starlette", "structlog", "authlib", "broker.app.heart"} == set()


@pytest.mark.parametrize("command", ["login", "token", "exec", "git-credential", "logout", "whoami"])
def test_a_machine_with_no_screen_loads_no_broker(command: str) -> None:
    """What runs there, git's helper for each fetch, starts without the broker's inside and without what people see."""
    modules = loaded_after(f"from broker.cli.application import application\napplication([{command!r}])")
    assert f"broker.cli.{command.replace('-', '_')}" in modules
    assert modules & {"broker.app.heart", "redis", "starlette", "authlib", "rich.console", "keyring", "segno"} == set()


def test_exit_codes_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each that a script can meet, in one place."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.partition("Exit codes:")[2].split())
    assert re.findall(r"(?:^|; )(\d+) ", text) == ["1", "2", "3", "4", "5", "130"]
