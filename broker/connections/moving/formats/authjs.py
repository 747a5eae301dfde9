"""The ``accounts`` table of Auth.js (NextAuth.js), as CSV with a line of names, as JSON Lines or as an array.

``userId`` is the subject, ``providerAccountId`` the account; adapters that spell columns with underscores
(``user_id``, ``provider_account_id``) are understood, other columns passed over. ``expires_at`` counts seconds. Rows
that hold no provider's tokens (sign-in by e-mail, say) can't be taken in and are named.

Source: Auth.js documentation, Concepts, "Database models", Account (authjs.dev/concepts/database-models).
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.formats.table import Table
from broker.connections.moving.json_items import items_of
from broker.connections.moving.members import Members, Untakeable
from broker.connections.moving.row import Row, RowFault

_TYPES: Final = frozenset({"oauth", "oidc"})


class AuthJs:
    """Reads it."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`."""
        options.refuse_columns("authjs")
        return _rows(file, options)


def _rows(file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
    start = file.tell()
    table = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in {b"[", b"{"}
    file.seek(start)
    for number, item in _records(file) if table else items_of(file, member="accounts"):
        if isinstance(item, RowFault):
            yield item
            continue
        try:
            yield _row(number, item, options)
        except Untakeable as error:
            yield error.at(number, item, "id", "_id")


def _records(file: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any] | RowFault]]:
    table = Table(file)
    if table.fault is not None:
        yield 1, table.fault
        return
    for number, cells in table.records():
        # Databases write NULL into a table as nothing, or as the word.
        yield (
            number,
            cells
            if isinstance(cells, RowFault)
            else {name: cell for name, cell in zip(table.names, cells, strict=True) if cell not in {"", "NULL", r"\N"}},
        )


def _row(number: int, item: Mapping[str, Any], options: ReadOptions) -> Row:
    read = Members(item)
    subject, account = read.identifier("userId", "user_id"), read.identifier("providerAccountId", "provider_account_id")
    named = read.text("provider")
    if subject is None or account is None or named is None:
        raise Untakeable("userId", "each account has a userId, a provider and a providerAccountId")
    kind = read.text("type")
    if kind is not None and kind not in _TYPES:
        raise Untakeable("type", f"only accounts of the types {' and '.join(sorted(_TYPES))} hold a provider's tokens")
    token_type = read.text("token_type")
    if token_type is not None and token_type.lower() != "bearer":
        raise Untakeable("token_type", "only bearer tokens can be taken in")
    credentials = {
        "access_token": read.text("access_token"),
        "refresh_token": read.text("refresh_token"),
        "expires_at": _end(read),
        "scope": read.text("scope"),
    }
    if not (credentials["access_token"] or credentials["refresh_token"]):
        raise Untakeable("access_token", "the account holds no token")
    return Row(
        number=number,
        provider=options.provider_of(named),
        subject=subject,
        credentials={name: value for name, value in credentials.items() if value},
        account_id=account,
        created_at=read.moment("createdAt", "created_at"),
        source_id=read.identifier("id", "_id") or f"{named}:{account}",
    )


def _end(read: Members) -> str | None:
    """When the access token ends. Some adapters write the number as a text."""
    if read.moment("expires_at") is None:
        return None
    return read.identifier("expires_at")
