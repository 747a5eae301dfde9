"""A row: one connection on its way in, as a reader of some format understood it, unjudged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from broker.connections.moving.naming import is_identifier
from broker.models.connection import Connection, Credential


@dataclass(frozen=True, slots=True)
class Restored:
    """A connection of another broker, whole: it keeps its id, its generation and its history."""

    connection: Connection
    credential: Credential = field(repr=False)
    parked: tuple[str, ...] = field(default=(), repr=False)
    """Refresh tokens of its grant that came too late there, newest first: tried before it is given up."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be taken in. Everything is as it stood in the file; what it is worth is judged later."""

    number: int
    """Which one it is, for people: the line where a line is a row, else its position; from 1."""
    provider: str
    """The entry of the providers file; empty: the file says nothing."""
    subject: str
    credentials: Mapping[str, Any] = field(repr=False)
    """As ``POST /v1/connections`` takes them."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    scopes: Sequence[str] | None = None
    """What it was asked for; ``None``: the file says nothing."""
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    account_id: str | None = None
    """Whose account it is, as the other system says; compared with what the provider says, and never stored."""
    account_name: str | None = None
    created_at: int | None = None
    """When it was connected there (ms)."""
    source_id: str | None = None
    """How the other system calls it; told beside the new id, so that programs can follow."""
    restored: Restored | None = None
    """Where it comes out of a broker's own export: then nothing else counts but ``number``."""

    def named(self, faults: Iterable["RowFault"]) -> list["RowFault"]:
        """``faults`` of this row, with how the other system calls it, unless that may be a secret out of place."""
        there = self.source_id
        if there is None or not is_identifier(there) or there in self.credentials.values():
            return list(faults)
        return [replace(fault, source_id=there) for fault in faults]


Remedy = Literal["no-verify", "existing-skip"]
"""The option that does something about a fault: takes a credential in that its provider refuses, or leaves a row out
that is there already."""


@dataclass(frozen=True, slots=True)
class RowFault:
    """Why a row can't be taken in. Never repeats a credential."""

    number: int
    field: str
    """Empty: it is about the row as a whole."""
    message: str
    source_id: str | None = None
    """How the other system calls the row; of a restored one its id. ``None``: that can't be told."""
    remedy: Remedy | None = None
