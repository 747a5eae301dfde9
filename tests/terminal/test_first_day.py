"""A machine's first day, as its person sees it: log in with a phone's browser, use the login, log out."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import expect

from tests.cli.headless import GIT_HOST, ROOT
from tests.cli.remote_broker import Remote, serving
from tests.terminal.tmux import Terminal, terminal
from tests.terminal.transcript import documented, transcript, write
from tests.web.windows import PHONE, chromium_process

__all__ = ["serving"]

pytestmark = [pytest.mark.terminal, pytest.mark.browser]


@pytest.fixture
def machine(serving: Remote, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal on a machine that knows where the broker is, and has nothing else: no home, no keyring, no display."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    command = programs / "broker"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m broker.cli.main "$@"\n')
    command.chmod(0o700)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PS1": "$ ",
        "GIT_CONFIG_NOSYSTEM": "1",
        "BROKER_URL": serving.url,
        "BROKER_CLIENT_ID": serving.machines_client(),
    }
    with TemporaryDirectory() as folder, terminal(Path(folder), environ, home) as shell:
        yield shell


def approve(screen: str) -> None:
    """Type the address and the code from the terminal into a phone, and say yes twice."""
    (address,) = re.findall(r"^ +(http://\S+/device)$", screen, re.MULTILINE)
    (code,) = re.findall(r"^ +([A-Z]{4}-[A-Z]{4})$", screen, re.MULTILINE)
    with chromium_process() as browser:
        page = browser.new_context(locale="en-GB", **PHONE).new_page()
        page.goto(address)
        page.get_by_role("textbox").fill(code)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text(code)).to_be_visible()
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Allow").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Approved")


def test_a_first_day_is_as_the_documentation_shows_it(machine: Terminal) -> None:
    """Every command of it works, and what the terminal shows is what ``docs/device-login.md`` shows.

    After a change that is meant, ``WRITE_TRANSCRIPT=1`` writes it there.
    """
    machine.start("broker login practice")
    approve(machine.wait_for(lambda screen: "Waiting for you, 14:" in screen))
    assert "alice@practice.example" in machine.finish()
    token = machine.run("broker token practice")
    assert re.fullmatch(r"pat_[\w-]{43}", token)
    helper = f"git config --global credential.https://{GIT_HOST}.helper '!broker git-credential'"
    assert helper in machine.screen()
    assert machine.run(helper) == ""
    asks = f"printf 'protocol=https\\nhost={GIT_HOST}\\n' | git credential fill | grep -E '^(username|password)='"
    assert machine.run(asks).splitlines() == ["username=x-access-token", f"password={token}"]
    assert machine.run("broker exec practice -- sh -c 'echo ${#PRACTICE_TOKEN}'") == str(len(token))
    assert "active" in machine.run("broker whoami")
    assert "logged out: practice" in machine.run("broker logout")
    assert "not logged in" in machine.run("broker token practice")
    assert machine.run("echo $?") == "4"
    shown = transcript(machine.screen())
    if os.environ.get("WRITE_TRANSCRIPT"):
        write(shown)
    assert documented() == shown


def test_ctrl_c_leaves_the_terminal_as_it_was(machine: Terminal) -> None:
    """No traceback, no spinner left behind, the cursor is there again, and the exit code says it."""
    machine.start("broker login practice")
    machine.wait_for(lambda screen: "Waiting for you" in screen)
    machine.interrupt()
    screen = machine.finish()
    assert "Waiting" not in screen
    assert "Traceback" not in screen
    assert machine.run("echo $?") == "130"
    assert machine.cursor_is_shown()


def test_a_narrow_terminal_shows_no_broken_picture(machine: Terminal) -> None:
    """Where the QR code has no room the address with the code in it stands instead, in one piece."""
    machine.resize(30, 20)
    machine.start("broker login practice")
    screen = machine.wait_for(lambda screen: "Waiting for you" in screen)
    assert re.search(r"/device\?user_code=[A-Z]{4}-[A-Z]{4}", screen)
    assert not set("▀▄█") & set(screen)
    machine.interrupt()
    machine.finish()
