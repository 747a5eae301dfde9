"""``broker connections import --ids FILE``: which row became which connection, as CSV or as JSON Lines.

The file is prepared before anything is asked, so that whoever can't have it learns that first; it appears under its
name when it is complete. It says whose accounts are connected, so nobody else can read it, and it takes no other's
place.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final

from broker.cli.private_file import new_private_file
from broker.connections.moving.order import Imported
from broker.errors import BrokerError, FieldFault, InvalidRequest

_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_CALCULATED: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula, and run it."""

TellIds = Callable[[Iterable[Imported]], None]
"""Writes the file."""


class _NothingToTell(Exception):
    """There were no connections to be told of."""


@contextmanager
def ids_file(path: Path | None) -> Iterator[TellIds | None]:
    """What writes the file at ``path``; it is there after the block if it was written. ``None``: none is wanted.

    :raises InvalidRequest: at once: there is such a file, or none can be made there.
    """
    if path is None:
        yield None
        return
    failure: BaseException | None = None
    with suppress(_NothingToTell), _prepared(path) as file:
        told = False

        def tell(listed: Iterable[Imported]) -> None:
            nonlocal told
            try:
                _write(file, listed, as_json=path.suffix in _JSON_LINES)
            except OSError as error:
                message = f"{error.strerror}; all is imported, and the same command with another FILE tells the ids"
                raise InvalidRequest("the ids can't be written", [FieldFault("--ids", message)]) from None
            told = True

        try:
            yield tell
        except BaseException as error:
            # It goes on behind the file, which is whole if it was written.
            failure = error
        if not told:
            raise _NothingToTell
    if failure is not None:
        raise failure


@contextmanager
def _prepared(path: Path) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(new_private_file(path))
        except BrokerError as error:
            raise InvalidRequest("the ids can't be written", [FieldFault("--ids", error.detail)]) from None
        yield file


def _write(file: BinaryIO, listed: Iterable[Imported], *, as_json: bool) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    if as_json:
        text.writelines(f"{json.dumps(asdict(one))}\n" for one in listed)
    else:
        table = csv.writer(text)
        table.writerow(Imported.__dataclass_fields__)
        table.writerows([_cell(each) for each in asdict(one).values()] for one in listed)
    text.detach()


def _cell(value: object) -> object:
    """The value, kept from being calculated: other systems' names are anybody's text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_CALCULATED) else value
