"""Lines of bounded length, so that a file without line breaks is no danger."""

from collections.abc import Iterator
from typing import BinaryIO, Final

LONGEST: Final = 2 * 1024 * 1024
"""Bytes of one line. The longest connection that there can be, with all its scopes and consents, has half as many."""
BOM: Final = b"\xef\xbb\xbf"
"""The mark of UTF-8 with which some programs begin a file."""


class TooLong(Exception):
    """A line, or what should be one, has more than :data:`LONGEST` bytes."""


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines, each with what ends it, without :data:`BOM` before the first.

    :raises TooLong: at the line that is.
    """
    first = True
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise TooLong
        yield line.removeprefix(BOM) if first else line
        first = False
