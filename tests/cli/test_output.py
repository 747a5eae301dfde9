"""What people and programs get to read."""

import io
import sys

import pytest

from broker.cli.output import note, print_fields, print_json, print_table, printable

EVIL = "eve\x1b[2J\x9b31m\n[red]"
"""A name that would clear the terminal, colour it, start a line and speak rich's markup."""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of a name that somebody else chose are replaced wherever it is printed."""
    print_fields({"account": EVIL})
    print_table(["ACCOUNT"], [[EVIL]])
    note(EVIL)
    output = capsys.readouterr()
    assert printable(EVIL) == "eve\ufffd[2J\ufffd31m\ufffd[red]"
    for text in (output.out, output.err):
        assert "eve\ufffd[2J" in text
        assert not set("\x1b\x9b") & set(text)
    assert len(output.out.splitlines()) == 3


def test_json_is_one_ascii_document(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON escapes what a terminal might take for a command."""
    print_json({"name": EVIL})
    assert capsys.readouterr().out.isascii()


def test_a_table_for_programs_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing is cut or coloured: columns stand under their headings, gaps are dashes."""
    print_table(["ID", "NAME"], [["con_" + "x" * 200, "ann"], ["con_1", None]])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert first == f"con_{'x' * 200}  ann"
    assert heading.index("NAME") == first.index("ann") == second.index("-")


def test_a_table_on_a_terminal_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the table is rich's, and a name in its markup is still only a name."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["ID", "NAME"], [["con_0123456789abcdefghijkl", "[red]ann[/red]"]])
    text = terminal.getvalue()
    assert "con_0123456789abcdefghijkl" in text
    assert "[red]" in text.replace("\n", "")
