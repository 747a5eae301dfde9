"""CSV: a table whose columns are the fields of a row.

``provider``, ``subject``, ``label``, ``scopes`` (separated by spaces or commas), ``source_id``, ``account_id``,
``account_name``, ``created_at``; the fields of credentials by their names (``access_token``, ``api_key``, ``password``,
…) or as ``credentials.NAME``; ``parameters.NAME`` and ``metadata.NAME``. Empty cells are absent.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from broker.connections.moving.formats.fields import GROUPS, OWN, row_of
from broker.connections.moving.formats.reading import IGNORED, ReadOptions
from broker.connections.moving.formats.table import Table, column_at
from broker.connections.moving.members import Untakeable
from broker.connections.moving.row import Row, RowFault
from broker.errors import FieldFault, InvalidRequest
from broker.providers.faults import suggestion

_LOOKS_LIKE_NAMES: Final = 2
"""Columns that have to be known before others are called unknown: it may be a file without a line of names."""


class CsvTable:
    """Reads it."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`.

        :raises InvalidRequest: a column is said to be a field that there is not.
        """
        unknown = sorted({name for name in options.columns.values() if _place_of(name, options) is None})
        if unknown:
            faults = [FieldFault("--map", f"there is no field {name}") for name in unknown]
            raise InvalidRequest("the columns can't be mapped", faults)
        return _rows(file, options)


def _rows(file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
    table = Table(file)
    if table.fault is not None:
        yield table.fault
        return
    places = [_place_of(options.columns.get(name, name), options) for name in table.names]
    faults = list(_faults_of(table.names, places, options))
    yield from faults
    if faults:
        # What its rows mean depends on the columns: each would be at fault.
        return
    for number, cells in table.records():
        if isinstance(cells, RowFault):
            yield cells
            continue
        members = _members(places, cells)
        try:
            yield row_of(number, members, options)
        except Untakeable as error:
            yield error.at(number, members, "source_id")


def _place_of(field: str, options: ReadOptions) -> tuple[str, str] | None:
    """Where a field stands in a row: its group (or none), and its name there; ``None``: nowhere."""
    group, dot, name = field.partition(".")
    if dot and name and group in GROUPS:
        return group, name
    if field in OWN or field == IGNORED:
        return "", field
    return ("credentials", field) if field in options.credential_fields else None


def _faults_of(
    names: Sequence[str], places: Sequence[tuple[str, str] | None], options: ReadOptions
) -> Iterator[RowFault]:
    known = [place for place in places if place is not None]
    if len(known) < min(_LOOKS_LIKE_NAMES, len(places)):
        example = "the first line must name the columns, such as provider,subject,api_key"
        yield RowFault(1, "", f"{example}; of columns that are called otherwise --map FIELD=COLUMN says what they are")
        return
    ours = (*OWN, *sorted(options.credential_fields))
    for position, (name, place) in enumerate(zip(names, places, strict=True)):
        if place is None:
            advice = f"say what it is (--map FIELD=COLUMN) or leave it out (--map {IGNORED}=COLUMN)"
            yield RowFault(1, column_at(position), f"an unknown column{suggestion(name, ours)}: {advice}")
        elif place != ("", IGNORED) and (first := places.index(place)) < position:
            yield RowFault(1, column_at(position), f"is the same field as {column_at(first)}")
    yield from (RowFault(1, column, "is mapped, and there is no such column") for column in options.columns
                if column not in names)  # fmt: skip
    if ("", "subject") not in known:
        yield RowFault(1, "subject", "there is no such column, which says whose each connection is")
    if ("", "provider") not in known and not options.provider:
        yield RowFault(1, "provider", "there is no such column, and --provider names none for all")


def _members(places: Sequence[tuple[str, str] | None], cells: Sequence[str]) -> dict[str, Any]:
    members: dict[str, Any] = {group: {} for group in GROUPS}
    for place, cell in zip(places, cells, strict=True):
        if place is None or not cell.strip():
            continue
        group, name = place
        if group:
            members[group][name] = cell
        elif name == "scopes":
            members[name] = cell.replace(",", " ").split()
        elif name != IGNORED:
            members[name] = cell.strip()
    return members
