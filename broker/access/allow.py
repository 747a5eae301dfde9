"""Allow lists: the requests to providers' APIs that a client may make, where it isn't given them all.

An entry is a method, a space and a path below the provider's ``api.base_url``: ``GET /user``, ``GET /repos/*/issues``,
``* /public/**``.

- The method is one word in capitals, or ``*`` for every method. GET doesn't stand for HEAD.
- ``*`` in the place of a segment stands for one segment that is not empty. ``**``, only at the end, stands for
  everything that may follow the slash before it, be it nothing: ``/public/**`` covers ``/public/`` and ``/public/a/b``,
  not ``/public``; ``/**`` covers every path.
- Everything else is compared as it is sent: no case is folded, nothing is decoded. The query doesn't count.

Who only compares text can be talked past by a path that the provider reads differently. So, where there is a list,
a path is refused that could be read in two ways, whatever the list says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote

ENTRIES_AT_MOST: Final = 100
"""Of one list."""
ENTRY_LENGTH: Final = 500
"""Characters of an entry."""

_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*)+")
"""RFC 3986 §3.3, ``path-absolute`` with empty segments."""
_METHODS: Final = frozenset({"*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What the proxy passes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list."""

    method: str
    segments: tuple[str, ...]
    rest: bool
    """Whether anything may follow the segments."""

    def covers(self, method: str, segments: Sequence[str]) -> bool:
        """Whether it is about this request."""
        if self.method not in {"*", method} or len(segments) < len(self.segments) + self.rest:
            return False
        if not self.rest and len(segments) != len(self.segments):
            return False
        # The path may be longer: the rest is everything.
        pairs = zip(self.segments, segments, strict=False)
        return all(known == given or (known == "*" and given != "") for known, given in pairs)


@lru_cache(maxsize=4096)
def parse_entry(text: str) -> Entry:
    """The entry that ``text`` is.

    :raises ValueError: it is none, with what is wrong.
    """
    method, space, path = text.partition(" ")
    if len(text) > ENTRY_LENGTH or not space:
        raise ValueError(f"a method, a space and a path are needed, at most {ENTRY_LENGTH} characters")
    if method not in _METHODS:
        raise ValueError(f"the method must be one of {', '.join(sorted(_METHODS))}, in capitals")
    if not _PATH.fullmatch(path):
        raise ValueError("the path must begin with / and be written as it is sent, without a query")
    *segments, last = path[1:].split("/")
    if any(segment != "*" and "*" in segment for segment in segments) or (last not in {"*", "**"} and "*" in last):
        raise ValueError("* stands for a whole segment, and ** for the rest: only at the end")
    if is_ambiguous(path):
        raise ValueError("the path could be read in two ways, and no request with it is let through")
    return Entry(method, tuple(segments), rest=True) if last == "**" else Entry(method, (*segments, last), rest=False)


def is_ambiguous(path: str) -> bool:
    """Whether a provider could take ``path`` for another one than it seems.

    So are encoded slashes, backslashes and percent signs, dot segments in every disguise, segments without a name,
    characters that a URI doesn't have, and bytes that are no UTF-8. A slash at the end is fine.
    """
    if not _PATH.fullmatch(path):
        return True
    *segments, last = path[1:].split("/")
    return any(map(_is_ambiguous, segments)) or (last != "" and _is_ambiguous(last))


def allows(entries: Sequence[str], method: str, path: str) -> bool:
    """Whether one of ``entries`` covers the request.

    :param path: below ``api.base_url``, as it is sent: it begins with a slash.
    """
    if is_ambiguous(path):
        return False
    segments = path[1:].split("/")
    return any(parse_entry(entry).covers(method, segments) for entry in entries)


def _is_ambiguous(segment: str) -> bool:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return True
    # Some servers fold characters that look alike, and take what follows a semicolon for no part of the name.
    folded = normalize("NFKC", decoded)
    name = folded.partition(";")[0].strip()
    return name in {"", ".", ".."} or not folded.isprintable() or not set(folded).isdisjoint("/\\%")
