"""What the embedded store holds, seen with the eyes of somebody who got hold of it: every key, every file."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from redis import Redis

from broker.vault import names

SEALED: Final = {"a": "access token", "s": "refresh token"}
"""The fields of a connection's record that hold secrets, and which."""
_SECRET_SHAPE: Final = re.compile(rb"\b(?:pat|prt|pac|bat|brt)_[A-Za-z0-9_-]{20,}")
"""Tokens and codes of the practice provider, and broker tokens."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search went through, and how often it found something."""

    keys: int
    files: int
    size: int
    """Bytes."""
    found: int


class Strongroom:
    """The store of one data directory, opened past the broker."""

    def __init__(self, store: Redis, data_dir: Path) -> None:
        self._store = store
        self._folder = data_dir

    def record(self, connection_id: str) -> dict[str, bytes]:
        """The fields of a connection's hash."""
        fields = cast("dict[bytes, bytes]", self._store.hgetall(names.record(connection_id)))
        return {name.decode(): value for name, value in fields.items()}

    def search(self, needles: Iterable[str] = ()) -> Search:
        """Look for ``needles`` and for everything that has the shape of a token."""
        wanted = re.compile(b"|".join([_SECRET_SHAPE.pattern, *(re.escape(needle.encode()) for needle in needles)]))
        in_keys = [b"\n".join(_leaves([key, self._value(key)])) for key in self._store.scan_iter()]
        in_files = [path.read_bytes() for path in self._folder.rglob("*") if path.is_file()]
        return Search(
            keys=len(in_keys),
            files=len(in_files),
            size=sum(map(len, in_keys + in_files)),
            found=sum(len(wanted.findall(text)) for text in in_keys + in_files),
        )

    def _value(self, key: bytes) -> object:
        match self._store.type(key):
            case b"hash":
                return self._store.hgetall(key)
            case b"zset":
                return self._store.zrange(key, 0, -1)
            case b"set":
                return self._store.smembers(key)
            case b"stream":
                return self._store.xrange(key)
            case _:
                return self._store.get(key)


def _leaves(value: object) -> Iterator[bytes]:
    match value:
        case bytes():
            yield value
        case dict():
            yield from _leaves([*value.keys(), *value.values()])
        case list() | tuple() | set():
            for part in value:
                yield from _leaves(part)
