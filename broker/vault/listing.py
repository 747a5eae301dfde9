"""Pages of a sorted set, newest first, with a cursor that survives entries of the same millisecond."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from broker.errors import FieldFault, InvalidRequest
from broker.vault.redis.store import Store

_EXTRA_FOR_TIES: Final = 50
LATEST: Final = 2**53
"""The store keeps scores as floating-point numbers, which are whole up to here."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry that was seen: its score (ms) and its member."""

    score: int
    member: str

    def encode(self) -> str:
        """The position as an opaque, URL-safe cursor."""
        return base64.urlsafe_b64encode(f"{self.score}:{self.member}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """The position that :meth:`Position.encode` wrote.

    :raises InvalidRequest: it is none of ours.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        score, _, member = text.partition(":")
        position = Position(int(score), member)
        if not 0 <= position.score <= LATEST:
            raise ValueError
    except (binascii.Error, ValueError):
        raise InvalidRequest("cursor is not one of ours", [FieldFault("cursor", "not a cursor")]) from None
    return position


def between(last: Position, following: Position) -> Position:
    """A position after ``last`` and not after ``following`` that tells of ``last`` only what tells the two apart.

    Of entries of different times that is the time; of one time, how far their members agree and one character more.
    """
    if following.score < last.score:
        return Position(last.score, "")
    pairs = enumerate(zip(last.member, following.member, strict=False))
    agreeing = next((index for index, (one, other) in pairs if one != other), len(following.member))
    return Position(last.score, last.member[: agreeing + 1])


async def page(store: Store, key: str, *, after: Position | None, count: int) -> list[Position]:
    """Up to ``count`` entries older than ``after``, newest first."""
    entries: list[Position] = []
    offset = 0
    while len(entries) < count:
        wanted = count + _EXTRA_FOR_TIES
        reply = await store.execute(
            "ZRANGE", key, "+inf" if after is None else after.score, "-inf", "BYSCORE", "REV", "LIMIT", offset, wanted,
            "WITHSCORES",
        )  # fmt: skip
        found = [Position(int(float(score)), member.decode()) for member, score in _pairs(reply)]
        entries += [entry for entry in found if after is None or _older(entry, after)]
        if len(found) < wanted:
            break
        offset += wanted
    return entries[:count]


def _pairs(reply: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(reply[::2], reply[1::2], strict=True))


def _older(entry: Position, than: Position) -> bool:
    # Within one score the store orders members by their bytes, here in reverse.
    return (entry.score, entry.member.encode()) < (than.score, than.member.encode())
