"""How much of a request has come, and of what: what is neither content of a body nor a whole header has its bounds.

The parser tells of whole headers only, so what never becomes one is measured in the pieces that were fed to it. Nothing
here knows of sockets or time.
"""

from collections.abc import Iterable, Sequence
from typing import Final

ADDRESS_AT_MOST: Final = 8 * 1024
"""Bytes of a request's target."""
HEAD_AT_MOST: Final = 32 * 1024
"""Bytes of the target and all header fields together."""
FIELDS_AT_MOST: Final = 100
PIECE: Final = 8 * 1024
"""Bytes that are parsed at a time, and by which an unfinished head may be larger than a whole one."""

_FRAMING_AT_MOST: Final = 32 * 1024
_FRAMING_PER_BYTE: Final = 8  # a chunk of one byte costs five


class Refused(Exception):
    """A request is not read any further. Knows the status and the words of the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Measure:
    """Where in a request the parser stands, and what it has seen of it. Each method may raise :class:`Refused`."""

    __slots__ = (
        "_address",
        "_begun",
        "_content",
        "_framing",
        "_in_piece",
        "_refused",
        "_unfinished",
        "in_body",
        "in_head",
    )

    def __init__(self) -> None:
        self.in_head = False
        self.in_body = False
        self._begun = False
        self._refused: Refused | None = None
        self._start()

    def _start(self) -> None:
        self._address = self._unfinished = 0
        self._framing = self._content = self._in_piece = 0

    @property
    def refused(self) -> Refused:
        """Why a callback raised: the parser swallows that, and says only that it failed."""
        return self._refused or Refused(400, "the request can't be read, or can be read in two ways")

    def begins(self) -> None:
        """The first byte of a request."""
        self.in_head, self.in_body, self._begun = True, False, True
        self._start()

    def address(self, part: int) -> None:
        """So many bytes of the target."""
        self._address += part
        if self._address > ADDRESS_AT_MOST:
            self._refuse(414, "the address of the request is too long")

    def check_head(self, fields: Sequence[tuple[bytes, bytes]], version: str, *, ahead: bool) -> None:
        """All header fields are there, and may be acted on.

        :param fields: with their names in lower case.
        :param ahead: it would wait behind more requests than may wait.
        """
        names = [name for name, _ in fields]
        if b"transfer-encoding" in names:
            for name, value in fields:
                if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                    # The parser would hand the head over before it found fault (RFC 9112 §6.1).
                    self._refuse(501, "the only transfer coding is chunked")
        # Two pieces are shorter than a head may be: only one that spans more of them is added up.
        if len(fields) > FIELDS_AT_MOST or (self._unfinished and self._size(fields) > HEAD_AT_MOST):
            self._refuse(431, "the head of the request is too large")
        if version not in {"1.0", "1.1"}:
            # The parser takes a line without a version for HTTP/0.9, whose answers have neither status nor headers.
            self._refuse(400, "the request is of no version of HTTP that is spoken here")
        if names.count(b"host") != 1 and version == "1.1":
            self._refuse(400, "the request names no host, or several")
        if ahead:
            self._refuse(400, "too many requests were sent ahead of their answers")

    def _size(self, fields: Sequence[tuple[bytes, bytes]]) -> int:
        return self._address + sum(len(name) + len(value) + len(b": \r\n") for name, value in fields)

    def head_ends(self) -> None:
        """The head was acted on; a body may follow."""
        self.in_head, self.in_body = False, True

    def content(self, part: int) -> None:
        """So many bytes of the body."""
        self._content += part
        self._in_piece += part

    def ends(self) -> None:
        """The request is there in full."""
        self.in_body = False

    def piece(self, size: int) -> None:
        """A piece of ``size`` bytes was parsed without fault."""
        if self.in_head and not self._begun:
            self._unfinished += size
            if self._unfinished > HEAD_AT_MOST:
                self._refuse(431, "the head of the request is too large")
        elif self.in_body and not self._begun:
            # Chunk extensions and trailers, on which the parser sets no end.
            self._framing += size - self._in_piece
            if self._framing > _FRAMING_AT_MOST + _FRAMING_PER_BYTE * self._content:
                self._refuse(400, "the body of the request is more framing than content")
        self._begun, self._in_piece = False, 0

    def _refuse(self, status: int, reason: str) -> None:
        self._refused = Refused(status, reason)
        raise self._refused


def pieces(data: bytes) -> Iterable[bytes | memoryview]:
    """``data`` in pieces to parse and to measure."""
    if len(data) <= PIECE:
        return (data,)
    whole = memoryview(data)
    return (whole[start : start + PIECE] for start in range(0, len(whole), PIECE))
