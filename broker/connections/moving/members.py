"""Members of an object that somebody else wrote: read by the type they should have, and named where they haven't.

A fault names the member and the type, never what stood there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from broker.clock import LATEST, moment_of
from broker.connections.moving.naming import is_identifier, is_member
from broker.connections.moving.row import RowFault
from broker.providers.faults import suggestion


class Untakeable(Exception):
    """Why a row can't be read."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message

    def at(self, number: int, members: Mapping[str, Any] | None = None, *names: str) -> RowFault:
        """The same, of a certain row, whose ``members`` say under one of ``names`` how the other system calls it."""
        said = (str(members[name]) for name in names if members and _is_identifier(members.get(name)))
        return RowFault(number, self.field, self.message, next(filter(is_identifier, said), None))


class Members:
    """An object's members, each taken out by its type. ``null`` is absent."""

    def __init__(self, members: Mapping[str, Any], within: str = "") -> None:
        """:param within: how faults name the object; empty: the outermost."""
        self._members = members
        self._within = f"{within}." if within else ""

    def name(self, member: str) -> str:
        """How faults call a member."""
        return f"{self._within}{member}"

    def text(self, *names: str) -> str | None:
        """The first of ``names`` that is there, a text. An empty one is absent."""
        found = self._first(names, lambda value: isinstance(value, str), "must be text")
        return found or None

    def identifier(self, *names: str) -> str | None:
        """A text or a whole number, as a text: keys of databases are either."""
        found = self._first(names, _is_identifier, "must be text or a whole number")
        return None if found is None else str(found) or None

    def object(self, *names: str) -> Mapping[str, Any]:
        """An object; where there is none, an empty one."""
        found = self._first(names, lambda value: isinstance(value, Mapping), "must be an object")
        return found or {}

    def texts(self, *names: str) -> list[str] | None:
        """An array of texts."""
        found: list[str] | None = self._first(names, _is_texts, "must be an array of texts")
        return found

    def moment(self, *names: str) -> int | None:
        """A time in milliseconds since the epoch, from RFC 3339 or from seconds or milliseconds since then."""
        found = self._first(names, _is_moment, "must be a time (RFC 3339, or seconds or milliseconds since 1970)")
        return None if found is None else moment_of(found)

    def refuse_others(self, known: Iterable[str]) -> None:
        """Return if every member is ``known``.

        :raises Untakeable: one isn't; by its name where that is one: somebody may have put a secret in its place.
        """
        known = list(known)
        there = f"there are: {', '.join(known)}"
        others = [name for name in self._members if name not in known]
        if others:
            named = next(filter(is_member, others), None)
            if named is None:
                raise Untakeable(self._within.rstrip("."), f"an unknown member; {there}")
            raise Untakeable(self.name(named), f"unknown{suggestion(named, known) or f'; {there}'}")

    def _first(self, names: Iterable[str], fits: Callable[[Any], bool], message: str) -> Any:  # noqa: ANN401 - judged
        for name in names:
            value = self._members.get(name)
            if value is None:
                continue
            if not fits(value):
                raise Untakeable(self.name(name), message)
            return value
        return None


def _is_moment(value: object) -> bool:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    found = moment_of(value)
    return found is not None and 0 <= found <= LATEST


def _is_identifier(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
