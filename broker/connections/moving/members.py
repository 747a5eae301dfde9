"""Members of an object that somebody else wrote: read by the type they should have, and named where they haven't.

A fault names the member and the type, never what stood there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from broker.clock import LATEST, moment_of
from broker.connections.moving.row import RowFault


class Untakeable(Exception):
    """Why a row can't be read."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message

    def at(self, number: int) -> RowFault:
        """The same, of a certain row."""
        return RowFault(number, self.field, self.message)


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
        """Fault what is not ``known``. It is not named: somebody may have put a secret in the place of the name."""
        known = list(known)
        if not self._members.keys() <= set(known):
            raise Untakeable(self._within.rstrip("."), f"an unknown member; there are: {', '.join(known)}")

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
