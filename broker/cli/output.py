"""What commands print on stdout: tables for people (plain where no terminal reads them), JSON for programs."""

import json
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from broker.errors import FieldFault, InvalidRequest

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

_NOTHING: Final = "-"
_INTERRUPTED: Final = 128 + signal.SIGINT


def print_json(document: BaseModel | Mapping[str, object]) -> None:
    """One JSON document; that of a view has the fields of the API's answer."""
    fields = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    # Escaped to ASCII: names come from providers, and a terminal may stand at the other end.
    print(json.dumps(fields, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """One JSON document on a line of its own, at once: whoever reads it goes on meanwhile."""
    print(json.dumps(document), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """Rows under a heading. The first column is never wrapped: it is what one copies."""
    cells = [[printable(cell or _NOTHING) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich_table(columns, cells)
    else:
        _print_plain_table(columns, cells)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Names and values of one thing, a line each."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:{width}}  {printable(value or _NOTHING)}")


def note(text: str) -> None:
    """Something for the person at the terminal that is no part of the output."""
    print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """``text`` without control characters: an account's name must not steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def confirm(question: str, *, yes: bool, believed: bool = True) -> None:
    """Return if the person agrees; without a terminal nobody can be asked, so whoever calls is believed.

    :param believed: false: it can't be mended afterwards, so a program has to say ``--yes``.
    :raises typer.Abort: they don't.
    :raises typer.Exit: with 130, at Ctrl-C.
    :raises InvalidRequest: nobody can be asked, and nobody is ``believed``.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        if not believed:
            raise InvalidRequest("nobody can be asked here", [FieldFault("--yes", "required without a terminal")])
        return
    try:
        typer.confirm(printable(question), abort=True, err=True)
    except typer.Abort as error:
        # The library makes one of Ctrl-C, too, which is no answer.
        if isinstance(error.__context__, KeyboardInterrupt):
            note("")
            raise typer.Exit(_INTERRUPTED) from None
        raise


def _print_rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # Not needed, and not loaded, where programs read.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        # As text, not as rich's markup: the cells hold what others chose.
        table.add_row(*map(Text, row))
    Console().print(table)


def _print_plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [columns, *rows]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
