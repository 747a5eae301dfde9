"""Tables in text: a line of names, then a record on each line, cells in quotes where they hold what separates them
(RFC 4180). The separator is the comma, the semicolon or the tab, whichever the line of names is made of.

A fault counts the columns, and never repeats what one is called: values may have run into the line of names.
"""

import csv
from collections.abc import Iterator
from typing import BinaryIO, Final

from broker.connections.moving.lines import LONGEST, TooLong, lines_of
from broker.connections.moving.row import RowFault

_SEPARATORS: Final = ",;\t"
_MOST_COLUMNS: Final = 500


class Table:
    """One table: first :attr:`names`, then :meth:`records`."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the line of names."""
        self._lines = lines_of(file)
        self.names: tuple[str, ...] = ()
        """What the columns are called; empty where :attr:`fault` says why."""
        self.fault: RowFault | None = None
        try:
            first = next(self._lines, b"").decode()
            separator = max(_SEPARATORS, key=first.count)
            # What a quote in the wrong place does to the rest of a file, nobody can tell: it ends there.
            self._cells = csv.reader(self._texts(first), delimiter=separator, strict=True)
            self.names = tuple(name.strip() for name in next(self._cells, []))
        except (UnicodeDecodeError, csv.Error, TooLong):
            self.fault = RowFault(1, "", "the line of names can't be read: it must be CSV in UTF-8")
            return
        self.fault = _fault_of(self.names)

    def records(self) -> Iterator[tuple[int, tuple[str, ...] | RowFault]]:
        """The cells of each record that is not blank, as many as there are names, and its number: where there are no
        line breaks within cells, that of its line."""
        number = 1
        try:
            for number, cells in enumerate(self._cells, start=2):
                if len(cells) == len(self.names):
                    if any(cells):
                        yield number, tuple(cells)
                elif cells:
                    message = f"has {len(cells)} cells, and there are {len(self.names)} columns"
                    yield number, RowFault(number, "", message)
        except UnicodeDecodeError:
            yield number + 1, RowFault(number + 1, "", "is not UTF-8; nothing after it was read")
        except csv.Error:
            message = "its quotes don't match, or a cell is too long; nothing after it was read"
            yield number + 1, RowFault(number + 1, "", message)
        except TooLong:
            message = f"a line may have {LONGEST // 1024} KiB; nothing after it was read"
            yield number + 1, RowFault(number + 1, "", message)

    def _texts(self, first: str) -> Iterator[str]:
        yield first
        for line in self._lines:
            yield line.decode()


def column_at(position: int) -> str:
    """How a fault calls a column, ``position`` counting from 0."""
    return f"column {position + 1}"


def _fault_of(names: tuple[str, ...]) -> RowFault | None:
    if not any(names):
        return RowFault(1, "", "there is no line of names")
    if len(names) > _MOST_COLUMNS:
        return RowFault(1, "", f"at most {_MOST_COLUMNS} columns")
    twice = next((position for position, name in enumerate(names) if name and name in names[:position]), None)
    if twice is None:
        return None
    return RowFault(1, column_at(twice), f"is called as {column_at(names.index(names[twice]))} is")
