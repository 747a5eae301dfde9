"""What every reader is: bytes of a file in, rows and faults out, one after the other and none of them judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol

from broker.connections.moving.row import Row, RowFault
from broker.errors import FieldFault, InvalidRequest
from broker.providers import Registry
from broker.providers.kinds import APP_FIELDS, KINDS

IGNORED: Final = "ignore"
"""The field to which a column is mapped that means nothing here."""

_FIELDS: Final = frozenset(APP_FIELDS).union(
    *(kind.fields for kind in KINDS.values()), *([kind.document.field] for kind in KINDS.values() if kind.document)
)
"""What a credential of some type may consist of, whatever entries say besides."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the operator says about a file."""

    provider: str = ""
    """The provider of rows that name none."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column → the field that it is; :data:`IGNORED`: none. Columns that are called like their field need no entry."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Provider, as the file calls it → as the providers file does. Default: by the same name."""
    entries: Registry = field(default_factory=lambda: Registry(()))
    """The providers that there are here: what their credentials and parameters are called."""
    private_key: bytes | None = field(default=None, repr=False)
    """Of whom a sealed export is for: PEM or a JWK."""
    passphrase: bytes | None = field(default=None, repr=False)
    """Of the private key, where it has one."""

    @property
    def credential_fields(self) -> frozenset[str]:
        """Names that stand for a field of a credential where a table has a column of that name."""
        return _FIELDS.union(*(entry.credential_fields for entry in self.entries))

    def parameters_of(self, provider: str) -> frozenset[str]:
        """The names of what the entry ``provider`` asks for, such as a subdomain."""
        return frozenset(self.entries.get(provider).parameters if provider in self.entries else ())

    def refuse_columns(self, format_name: str) -> None:
        """:raises InvalidRequest: columns are mapped, and this format, ``format_name``, has none."""
        if self.columns:
            fault = FieldFault("--map", f"a file in the format {format_name} has no columns to map")
            raise InvalidRequest("the options don't fit the file", [fault])

    def provider_of(self, named: str) -> str:
        """The entry that ``named`` stands for; for an empty name the default."""
        return self.providers.get(named, named) if named else self.provider


class Reader(Protocol):
    """Reads one format."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """What stands in ``file``, which can be sought in, in its order.

        Nothing in a file makes this raise: what can't be read is a fault; where nothing can be read after it, the last.

        Faults never repeat a cell or a member's value. A file may show only at its end that it isn't whole, so nothing
        is to be acted upon before all of it has been read.

        :raises InvalidRequest: at once, before anything is read: the options don't fit the format.
        :raises OSError: the file can't be read.
        """


def columns_of(pairs: Sequence[str]) -> dict[str, str]:
    """Column → field, from ``field=column`` each, as the command line says it.

    :raises InvalidRequest: one is no pair, or a column is said to be two fields.
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column) or column in columns:
            message = "each is FIELD=COLUMN, and each column is named once; ignore=COLUMN leaves one out"
            raise InvalidRequest("the columns can't be mapped", [FieldFault("--map", message)])
        columns[column] = name
    return columns


def providers_of(pairs: Sequence[str]) -> dict[str, str]:
    """Their name → our entry, from ``theirs=ours`` each, as the command line says it.

    :raises InvalidRequest: one is no pair, or a name is given twice.
    """
    providers: dict[str, str] = {}
    for pair in pairs:
        theirs, equals, ours = pair.rpartition("=")
        if not (theirs and equals and ours) or theirs in providers:
            message = "each is THEIRS=OURS, and each of their names is given once"
            raise InvalidRequest("the providers can't be mapped", [FieldFault("--map-provider", message)])
        providers[theirs] = ours
    return providers
