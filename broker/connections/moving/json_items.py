"""The objects of a JSON file, one by one: one a line (JSON Lines), or the elements of an array (RFC 8259).

An array may be a member of an object around it, as APIs answer pages. A file may be longer than memory: no more of it
is held than a line, or an element and what was read along with it. Where a line is none, the next one may be; after an
element that is none, nothing can be told any more.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

from broker.connections.moving.lines import BOM, LONGEST, TooLong, lines_of
from broker.connections.moving.row import RowFault

Item = tuple[int, Mapping[str, Any] | RowFault]
"""An object and its number: that of its line, or its position, from 1."""

_HEAD: Final = 512
_CHUNK: Final = 64 * 1024
_LEVELS: Final = 24
"""Objects and arrays within each other; metadata may have 8."""
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class RefusedJson(ValueError):
    """JSON, and not such as we take. The text is safe to show."""


def items_of(file: BinaryIO, *, member: str = "") -> Iterator[Item]:
    """The objects, from where ``file``, which can be sought in, stands.

    :param member: the name that an object around the array gives it.
    """
    start = file.tell()
    head = file.read(_HEAD)
    file.seek(start)
    around = _beginning(head, member)
    return _of_lines(file) if around is None else _Array(file, around).elements()


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - the caller looks what it is
    """The value that ``text`` holds.

    :raises ValueError: it holds none, or one that goes beyond our bounds (:class:`RefusedJson`).
    """
    try:
        value = _DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except RecursionError:
        raise _too_deep() from None
    _check(value, _LEVELS)
    return value


def _beginning(head: bytes, member: str) -> re.Pattern[str] | None:
    """What stands before the first element; ``None``: there is no array."""
    text = head.removeprefix(BOM).decode(errors="replace")
    plain = re.compile(r"\s*\[")
    enclosed = re.compile(rf'\s*\{{\s*"{member}"\s*:\s*\[') if member else plain
    return next((pattern for pattern in (plain, enclosed) if pattern.match(text)), None)


def _of_lines(file: BinaryIO) -> Iterator[Item]:
    number = 0
    try:
        for number, line in enumerate(lines_of(file), start=1):
            if line.strip():
                yield number, _object_of(line, number)
    except TooLong:
        yield number + 1, RowFault(number + 1, "", f"a line may have {LONGEST // 1024} KiB; nothing after it was read")


def _object_of(line: bytes, number: int) -> Mapping[str, Any] | RowFault:
    try:
        value = read_json(line)
    except RefusedJson as error:
        return RowFault(number, "", str(error))
    except ValueError:
        return RowFault(number, "", "is no JSON in UTF-8: it takes one object on each line, or an array of them")
    return value if isinstance(value, dict) else RowFault(number, "", "must be an object")


class _Array:
    """An array that is read element by element."""

    def __init__(self, file: BinaryIO, beginning: re.Pattern[str]) -> None:
        self._file = file
        self._beginning = beginning
        # Told from the file: an array that could have an object around it may come without one.
        self._enclosed = False
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._over = False

    def elements(self) -> Iterator[Item]:
        number = 1
        try:
            self._read_on()
            begun = self._beginning.match(self._text)
            self._enclosed = begun is not None and "{" in begun[0]
            self._text = self._text[begun.end() if begun else 0 :]
            while self._at() != "]" or number > 1:
                value = self._value()
                yield number, value if isinstance(value, dict) else RowFault(number, "", "must be an object")
                number += 1
                if self._at() == "]":
                    break
                self._pass(",")
            self._end()
        except RefusedJson as error:
            yield number, RowFault(number, "", f"{error}; nothing after it was read")
        except (ValueError, RecursionError):
            # UnicodeDecodeError is a ValueError.
            yield number, RowFault(number, "", "is no JSON in UTF-8, or cut off; nothing after it was read")

    def _value(self) -> object:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._skipped())
            except RefusedJson:
                raise
            except RecursionError:
                raise _too_deep() from None
            except ValueError:
                # Perhaps it goes on in what was not read yet.
                if self._over:
                    raise
            else:
                _check(value, _LEVELS)
                self._text = self._text[end:]
                return value
            if len(self._text) > LONGEST:
                raise RefusedJson(f"an element may have {LONGEST // 1024} KiB")
            self._read_on()

    def _at(self) -> str:
        """The next character that is no space."""
        self._text = self._text[self._skipped() :]
        while not self._text and not self._over:
            self._read_on()
            self._text = self._text[self._skipped() :]
        return self._text[:1]

    def _pass(self, character: str) -> None:
        if self._at() != character:
            raise ValueError
        self._text = self._text[1:]

    def _end(self) -> None:
        """Nothing comes after the array but the rest of the object around it."""
        self._pass("]")
        if not self._enclosed:
            if self._at():
                raise RefusedJson("something stands after the array")
            return
        while not self._over and len(self._text) <= LONGEST:
            self._read_on()
        read_json('{"":0' + self._text)

    def _skipped(self) -> int:
        match = _SPACE.match(self._text)
        return match.end() if match else 0

    def _read_on(self) -> None:
        chunk = self._file.read(_CHUNK)
        self._over = not chunk
        self._text += self._decoder.decode(chunk, final=self._over)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # Which of the two would count, readers disagree on (RFC 8259 §4).
        raise RefusedJson("a member is named twice")
    return members


def _no_constant(_: str) -> object:
    raise RefusedJson("holds NaN or Infinity, which JSON doesn't know")


def _too_deep() -> RefusedJson:
    return RefusedJson(f"at most {_LEVELS} objects and arrays may stand within each other")


def _check(value: object, levels: int) -> None:
    match value:
        case str():
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise RefusedJson("holds half a character (a lone surrogate)")
        case float():
            if not math.isfinite(value):
                raise RefusedJson("holds a number beyond all bounds")
        case dict() | list():
            if not levels:
                raise _too_deep()
            for one in (*value, *value.values()) if isinstance(value, dict) else value:
                _check(one, levels - 1)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_no_doubles, parse_constant=_no_constant)
