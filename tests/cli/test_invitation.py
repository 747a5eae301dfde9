"""Tests of :mod:`broker.cli.invitation`: what a person is shown, and where a browser opens."""

import io
import re
import sys
import webbrowser

import pytest
import segno
from rich.console import Console

from broker.cli.device_grant import Invitation
from broker.cli.invitation import ONLY_HERE, is_web_address, open_browser, qr_code, show, waiting

LINK = "https://broker.example/device?user_code=WDJB-MJHT"
ABOUT_TERMINALS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")


def invitation(link: str | None = LINK, code: str = "WDJB-MJHT") -> Invitation:
    """An invitation."""
    return Invitation("dc", code, "https://broker.example/device", link, 900, 5)


def console(width: int = 80, height: int = 50, encoding: str = "utf-8", **options: bool) -> Console:
    """A terminal with colours."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(
        file=screen,
        force_terminal=True,
        color_system="256",
        width=width,
        height=height,
        no_color=options.get("no_color", False),
        legacy_windows=False,
    )


def test_the_qr_code_is_the_address() -> None:
    """Each half block stands for two modules; around them there is room for a camera to find the edge."""
    picture = qr_code(console(), LINK)
    assert picture is not None
    shades = {" ": "00", "▀": "10", "▄": "01", "█": "11"}
    rows: list[str] = []
    for line in picture.plain.split("\n"):
        rows += ("".join(shades[block][half] for block in line) for half in (0, 1))
    code = segno.make(LINK, error="l", micro=False)
    wanted = ["".join(str(int(bool(module))) for module in row) for row in code.matrix_iter(border=2)]
    assert rows[: len(wanted)] == wanted
    assert set("".join(rows[len(wanted) :])) <= {"0"}
    assert {str(span.style) for span in picture.spans} == {"#000000 on #ffffff"}


@pytest.mark.parametrize(
    "poor", [console(width=20), console(height=10), console(encoding="latin-1"), console(no_color=True)]
)
def test_a_terminal_that_can_not_show_one_shows_none(poor: Console) -> None:
    """Too small, without the characters, or without colours: then it could come out inverted."""
    assert qr_code(poor, LINK) is None


@pytest.mark.parametrize(("height", "pictured", "again"), [(50, True, False), (24, True, True), (20, False, False)])
def test_address_and_code_stay_on_the_terminal(
    height: int, pictured: bool, again: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the picture would push them out they stand below it once more; where even that has no room, it is not."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, text in {"TERM": "xterm-256color", "FORCE_COLOR": "1", "COLUMNS": "80", "LINES": str(height)}.items():
        monkeypatch.setenv(name, text)
    show(invitation(), "Practice")
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
    assert ("▀" in shown) is pictured
    assert len(re.findall(r"^    https://broker.example/device   WDJB-MJHT$", shown, re.MULTILINE)) == again
    # With the line of the time that is left.
    on_screen = shown.splitlines()[1 - height :]
    assert any("https://broker.example/device" in line for line in on_screen)
    assert any("WDJB-MJHT" in line for line in on_screen)


@pytest.mark.parametrize("at_terminal", [True, False])
@pytest.mark.parametrize(("address", "told"), [("http://localhost:8400/device", True), ("https://b.example", False)])
def test_an_address_that_no_phone_reaches_is_said_to_be_one(
    address: str, told: bool, at_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On loopback it leads whoever opens it elsewhere to a machine of their own."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal)
    show(Invitation("dc", "WDJB-MJHT", address, None, 900, 5), "Practice")
    assert (" ".join(ONLY_HERE.split()) in " ".join(capsys.readouterr().err.split())) is told


@pytest.mark.parametrize(
    "address", ["", "device", "file:///etc/passwd", "javascript:alert(1)", "https://", "https://a b", "https://\x1b.x"]
)
def test_only_web_addresses_are_scanned_or_opened(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a provider sends may be anything."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ABOUT_TERMINALS[3:]:
        monkeypatch.delenv(name, raising=False)
    open_browser(invitation(address))
    assert not is_web_address(address)
    assert qr_code(console(), address) is None
    assert opened == ([] if address else ["https://broker.example/device"])


@pytest.mark.parametrize(
    ("environ", "opens"),
    [
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"BROWSER": "firefox"}, True),
        ({}, False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "1"}, False),
        ({"DISPLAY": ":10", "SSH_TTY": "/dev/pts/1"}, False),
    ],
)
def test_a_browser_opens_where_somebody_sees_it(
    environ: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not without a display, where it might take over the terminal; not on the far side of ssh."""
    monkeypatch.setattr(sys, "platform", "linux")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    for name in ABOUT_TERMINALS:
        monkeypatch.delenv(name, raising=False)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    open_browser(invitation())
    assert opened == ([LINK] if opens else [])


@pytest.mark.parametrize("at_terminal", [True, False])
def test_what_came_from_a_provider_is_cleaned(
    at_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a code or an address reach no terminal; rich's markup is text."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal)
    monkeypatch.setenv("TERM", "dumb")
    show(invitation("https://b.example/\x1b]0;x\x07", "[red]A\x1b[2J\u202e"), "[bold]Practice")
    shown = capsys.readouterr().err
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "[red]A" in shown
    assert "[bold]Practice" in shown


def test_where_no_terminal_is_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    """One when the waiting begins, and one when something changes."""
    with waiting() as tell:
        for left, trouble in [(900, ""), (899, ""), (898, "no answer"), (897, "no answer"), (896, "")]:
            tell(left, trouble)
    assert capsys.readouterr().err.splitlines() == [
        "Waiting for you, 15:00 left",
        "Waiting for you, 14:58 left (trying again: no answer)",
        "Waiting for you, 14:56 left",
    ]


def test_nothing_of_it_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """That is for the login itself."""
    show(invitation(), "Practice")
    assert capsys.readouterr().out == ""
