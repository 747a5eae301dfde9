"""A scheme that the entry describes itself: templates for headers and query, over parts that are computed.

The entry was judged when it was loaded, so every name in it is known here. What is handed in was not: a value that
can't stand where it is put makes the request unsignable, rather than another request.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from urllib.parse import urlsplit

from broker.models.connection import Credential
from broker.providers import Provider
from broker.providers.credential_sections import Computed
from broker.providers.fields import placeholders
from broker.upstream.schemes.request import Signature, UnsignableError, Unsigned

_NAMES: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_NONCE_BYTES: Final = 16

Randomness = Callable[[int], bytes]
"""Answers so many random bytes."""


def sign(
    provider: Provider,
    values: Mapping[str, str],
    credential: Credential,
    request: Unsigned,
    *,
    now: int,
    randomness: Randomness = secrets.token_bytes,
) -> Signature:
    """What the templates make of the credential and the request. What comes out empty is left out.

    :param values: the connection's checked parameters.
    :param now: milliseconds since the epoch.
    :raises UnsignableError: the body is covered and not at hand, or a result can't stand in a header.
    """
    # A field that was left out is empty text.
    known = dict.fromkeys(provider.fields, b"")
    known |= {name: text.encode() for name, text in {**values, **credential.fields}.items()}
    known |= {name: text.encode() for name, text in _parts_of(request).items()}
    if request.body is not None:
        known["body"] = request.body
    for name, part in provider.computed.items():
        known[name] = _computed(name, part, known, now, randomness).encode()
    headers = {name.lower(): _filled(template, known).decode() for name, template in provider.headers.items()}
    for name, value in headers.items():
        if value and not _HEADER_VALUE.fullmatch(value):
            raise UnsignableError(f"what would stand in the header {name} can't stand in one (RFC 9110 §5.5)")
    query = {name: _filled(template, known).decode() for name, template in provider.query.items()}
    return Signature(_without_empty(headers), _without_empty(query))


def covers(provider: Provider) -> frozenset[str]:
    """The names that the templates use."""
    templates = [*provider.headers.values(), *provider.query.values()]
    templates += [template for part in provider.computed.values() for template in (part.over, part.key)]
    return frozenset(name for template in templates for name in placeholders(template))


def _without_empty(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _parts_of(request: Unsigned) -> dict[str, str]:
    parts = urlsplit(request.url)
    path = parts.path or "/"
    return {
        "method": request.method,
        "url": request.url,
        "host": parts.netloc.lower(),
        "path": path,
        "query": parts.query,
        "target": f"{path}?{parts.query}" if parts.query else path,
        "body_sha256": request.body_sha256,
    }


def _filled(template: str, known: Mapping[str, bytes]) -> bytes:
    """``template`` with each name replaced once: what a value holds is text, even if it looks like a name."""
    pieces = _NAMES.split(template)
    for position in range(1, len(pieces), 2):
        if pieces[position] not in known:
            raise UnsignableError("its signature covers the body, which is not at hand here: send it through the proxy")
    return b"".join(known[piece] if position % 2 else piece.encode() for position, piece in enumerate(pieces))


def _computed(name: str, part: Computed, known: Mapping[str, bytes], now: int, randomness: Randomness) -> str:
    match part.function:
        case "timestamp":
            return _moment(part, now)
        case "nonce":
            return _written(randomness(_NONCE_BYTES), part.encoding)
        case "base64":
            style = "base64url" if part.encoding == "base64url" else "base64"
            return _written(_filled(part.over, known), style)
        case "hash":
            # Which algorithm is the provider's choice; for a weak one no stronger one could be put in.
            digest = hashlib.new(part.digest, _filled(part.over, known), usedforsecurity=False)
            return _written(digest.digest(), part.encoding)
        case "hmac":
            key = _key(name, part, _filled(part.key, known))
            return _written(hmac.digest(key, _filled(part.over, known), part.digest), part.encoding)


def _key(name: str, part: Computed, key: bytes) -> bytes:
    try:
        match part.key_encoding:
            case "base64":
                return b64decode(key, validate=True)
            case "hex":
                return bytes.fromhex(key.decode())
            case "text":
                return key
    except (NotBase64Error, ValueError):
        raise UnsignableError(f"the key of {name} is not {part.key_encoding}") from None


def _written(value: bytes, encoding: str) -> str:
    match encoding:
        case "base64":
            return b64encode(value).decode()
        case "base64url":
            return urlsafe_b64encode(value).rstrip(b"=").decode()
        case _:
            return value.hex()


def _moment(part: Computed, now: int) -> str:
    match part.format:
        case "seconds":
            return str(now // 1000)
        case "milliseconds":
            return str(now)
        case "rfc3339":
            return datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case "http_date":
            return format_datetime(datetime.fromtimestamp(now // 1000, UTC), usegmt=True)
