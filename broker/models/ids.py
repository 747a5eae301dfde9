"""Identifiers and secrets: prefixed, URL-safe, and random enough.

Ids carry 131 bits of randomness, secrets 256. The alphabet is base62, so an id never needs escaping and ``_``
stands only where we put it.
"""

import hashlib
import os
from collections import deque
from zlib import crc32

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FAIR = 256 - 256 % len(_ALPHABET)
_CHARACTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_UNFAIR = bytes(range(_FAIR, 256))
_ID_LENGTH = 22
_SECRET_LENGTH = 43
_IDS_AT_ONCE = 64

BUCKETS = 1024
"""How many hash slots connections are spread over. Part of the key layout: can't be changed later."""


_ids: deque[str] = deque()
"""Drawn and not yet given out. Taken by an atomic step: no two threads get the same. A forked process begins anew."""
os.register_at_fork(after_in_child=_ids.clear)


def _random(length: int) -> str:
    drawn = b""
    while len(drawn) < length:
        # Bytes that would favour some characters are dropped, so each character is drawn evenly.
        drawn += os.urandom(length + length // 16 + 8).translate(_CHARACTERS, _UNFAIR)
    return drawn[:length].decode()


def new_id(prefix: str) -> str:
    """A fresh identifier such as ``con_…`` (131 random bits)."""
    # Every request and audit event has one. They are no secrets, so many are drawn with one question to the system.
    while True:
        try:
            return f"{prefix}_{_ids.popleft()}"
        except IndexError:
            drawn = _random(_IDS_AT_ONCE * _ID_LENGTH)
            _ids.extend(drawn[start : start + _ID_LENGTH] for start in range(0, len(drawn), _ID_LENGTH))


def new_secret(prefix: str = "") -> str:
    """A fresh secret such as ``bat_…`` (256 random bits); no prefix, no underscore."""
    return f"{prefix}_{_random(_SECRET_LENGTH)}" if prefix else _random(_SECRET_LENGTH)


def id_from(prefix: str, drawn: bytes) -> str:
    """An identifier such as :func:`new_id` makes, of 64 bytes that were drawn at random or by a key: the same of the
    same, so that work that is repeated makes the same things.

    :raises ValueError: they are no such bytes.
    """
    body = drawn.translate(_CHARACTERS, _UNFAIR)[:_ID_LENGTH]
    if len(body) < _ID_LENGTH:
        # Of 64 drawn ones two are dropped; that 43 were has a chance of 2^-170.
        raise ValueError("an id is made of 64 bytes that were drawn evenly")
    return f"{prefix}_{body.decode()}"


def is_id(prefix: str, value: str) -> bool:
    """Whether ``value`` has the exact shape that ``new_id(prefix)`` makes."""
    body = value.removeprefix(f"{prefix}_")
    return len(value) == len(prefix) + 1 + _ID_LENGTH and len(body) == _ID_LENGTH and body.isalnum() and body.isascii()


def shape_of(prefix: str) -> str:
    """The regular expression of what :func:`is_id` takes."""
    return f"^{prefix}_[0-9A-Za-z]{{{_ID_LENGTH}}}$"


def bearing_secret(prefix: str, owner_id: str) -> str:
    """A secret that carries the id of what it opens: ``ref_<id body>_<secret>``.

    Whoever receives it finds the owner's slot in the store without an index.
    """
    return f"{prefix}_{owner_id.partition('_')[2]}_{new_secret()}"


def owner_of(prefix: str, owner_prefix: str, value: str) -> str | None:
    """The owner id inside a value made by :func:`bearing_secret`, or ``None`` when the shape is wrong."""
    parts = value.split("_")
    if len(parts) != 3 or parts[0] != prefix or len(parts[2]) != _SECRET_LENGTH:
        return None
    owner = f"{owner_prefix}_{parts[1]}"
    return owner if is_id(owner_prefix, owner) else None


def digest(secret: str) -> str:
    """What is stored in place of a secret: SHA-256, hex.

    Plain SHA-256 is right here because every secret it sees has 256 random bits: there is nothing to guess,
    so a slow password hash would only slow the hot path down.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def bucket_of(connection_id: str) -> int:
    """The bucket (0 … 1023) whose hash slot holds everything of a connection."""
    return crc32(connection_id.encode()) % BUCKETS
