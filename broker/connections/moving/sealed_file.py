"""The file of an export: lines that only the holder of one private key can read, and that only fit together whole.

Each line is a JWE in compact form (RFC 7516), encrypted by A256GCM (RFC 7518 §5.3), ended by a line feed.

1. The first is encrypted to the recipient's public key (``alg`` ECDH-ES+A256KW or RSA-OAEP-256; ``kid`` the key's RFC
   7638 thumbprint). It holds ``{version, export, created_at, broker, key}``: what made it, and the content key, 32
   bytes in base64url.
2. Every further one is encrypted with the content key (``alg`` dir). Its header says ``export`` and ``seq``, which
   counts from 1; both are authenticated with it. It holds ``{connection, credential, parked}``.
3. The last one is like those, and holds ``{end}``: how many connections there are.

So a line that was altered doesn't open, one from another file has another key, one that was moved has the wrong
``seq``, and a file that was cut off has no end. What this does not say is who made the file: anybody can who has the
public key. Whoever reads one has to know where it comes from, and judges all of it as they would a stranger's.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.registry import HeaderParameter

from broker.connections.moving.json_items import read_json
from broker.connections.moving.lines import LONGEST, TooLong, lines_of
from broker.connections.moving.recipients import RecipientKey
from broker.connections.moving.row import RowFault
from broker.models.ids import is_id

VERSION: Final = 1
_ENCRYPTION: Final = "A256GCM"
_WRAPS: Final = ("ECDH-ES+A256KW", "RSA-OAEP-256")
_TYPE: Final = "broker-export"
_HEADER: Final = {
    "export": HeaderParameter("The export that the line is of", "str"),
    "seq": HeaderParameter("The line's place among those of connections, from 1", "int"),
}

_FIRST_MEMBERS: Final = frozenset({"alg", "enc", "typ", "kid", "epk"})
_FURTHER_MEMBERS: Final = frozenset({"alg", "enc", *_HEADER})
"""What a header says. Whatever else one says (``crit``, ``zip``, where a key can be fetched) was not written here."""


class _Registry(jwe.JWERegistry):
    # A connection with all its metadata is longer than what the library takes by default.
    max_ciphertext_length = LONGEST


# Nothing is ever decompressed (no "zip"), and no other algorithm is tried, whatever a file says.
_FIRST: Final = _Registry({}, [*_WRAPS, _ENCRYPTION])
_FURTHER: Final = _Registry(_HEADER, ["dir", _ENCRYPTION])


class Sealer:
    """Writes the lines of one export."""

    def __init__(self, recipient: RecipientKey, *, export_id: str, broker: str, created_at: int) -> None:
        """
        :param broker: which broker it is from, for people.
        :param created_at: milliseconds since the epoch.
        """
        self.export_id = export_id
        self._recipient = recipient
        self._about = {"version": VERSION, "export": export_id, "created_at": created_at, "broker": broker}
        # A key for this file alone, from the system's generator.
        self._secret = os.urandom(32)
        self._key = OctKey.import_key(self._secret)
        self._written = 0

    def first(self) -> bytes:
        """The line that a file begins with."""
        content = {**self._about, "key": base64.urlsafe_b64encode(self._secret).decode()}
        header = {
            "alg": self._recipient.algorithm,
            "enc": _ENCRYPTION,
            "typ": _TYPE,
            "kid": self._recipient.thumbprint,
        }
        return jwe.encrypt_compact(header, _json(content), self._recipient.key, registry=_FIRST).encode() + b"\n"

    def line(self, document: Mapping[str, Any]) -> bytes:
        """The line of the next connection.

        :raises ValueError: it is longer than any reader takes; nothing was counted.
        """
        content = _json(document)
        # In base64 it has a third more; the rest is for the header.
        if len(content) * 4 // 3 + 1024 > LONGEST:
            raise ValueError("it is too large")
        return self._sealed(content)

    def last(self) -> bytes:
        """The line that a file ends with."""
        return self._sealed(_json({"end": self._written}))

    def _sealed(self, content: bytes) -> bytes:
        header = {"alg": "dir", "enc": _ENCRYPTION, "export": self.export_id, "seq": self._written + 1}
        # The library draws a nonce of 96 bits for each line. Of one key that is safe for 2**32 lines (NIST SP 800-38D
        # §8.3), more than there can be connections.
        line = jwe.encrypt_compact(header, content, self._key, registry=_FURTHER).encode() + b"\n"
        self._written += 1
        return line


@dataclass(frozen=True, slots=True)
class _Opening:
    """What the first line says."""

    export: str
    key: OctKey = field(repr=False)


class _Refused(Exception):
    """Why a file is not read on."""

    def __init__(self, message: str, field: str = "FILE") -> None:
        super().__init__(message)
        self.field = field
        """Whose fault it is, as the command line names it."""


def opened(file: BinaryIO, private: RecipientKey) -> Iterator[tuple[int, Mapping[str, Any] | RowFault]]:
    """The documents of a file's connections, each with the number of its line.

    Whatever is wrong with the file as such is a fault, and the last thing that is answered. What came before it is
    authentic, but perhaps not all: only when this has ended without such a fault is the file known to be whole.
    """
    number = 0
    try:
        lines = enumerate(lines_of(file), start=1)
        number, first = next(lines, (1, b""))
        opening = _opening(first, private)
        ended: bool = False
        for number, line in lines:
            if ended:
                raise _Refused("something stands after the end of the export: the file is not as it was written")
            document = _document(line, opening, number - 1)
            if "end" not in document:
                yield number, document
            elif len(document) == 1 and _is_number(document["end"], number - 2):
                ended = True
            else:
                raise _Refused("the export ends with another number of connections than it has")
        if not ended:
            number += 1
            raise _Refused("the export was cut off: its end is missing")
    except TooLong:
        yield (
            number + 1,
            RowFault(number + 1, "FILE", f"a line may have {LONGEST // 1024} KiB; nothing after it was read"),
        )
    except _Refused as error:
        yield number, RowFault(number, error.field, str(error))


def _opening(line: bytes, private: RecipientKey) -> _Opening:
    header = _header(line)
    if not header.keys() <= _FIRST_MEMBERS or header.get("typ") != _TYPE or header.get("alg") not in _WRAPS:
        raise _Refused("it doesn't begin as an export does: it was cut off or altered")
    if header.get("kid") != private.thumbprint or header["alg"] != private.algorithm:
        raise _Refused("the export was sealed to another key", "--key")
    content = _opened(line, private.key, _FIRST)
    if content.get("version") != VERSION:
        raise _Refused("it is of another version of the broker, which writes exports in another way")
    export_id, encoded = content.get("export"), content.get("key")
    if not (isinstance(export_id, str) and is_id("exp", export_id) and isinstance(encoded, str)):
        raise _Refused("its first line doesn't say what it should")
    try:
        secret = base64.urlsafe_b64decode(encoded)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise _Refused("its first line doesn't say what it should")
    return _Opening(export_id, OctKey.import_key(secret))


def _document(line: bytes, opening: _Opening, seq: int) -> Mapping[str, Any]:
    header = _header(line)
    if header.keys() != _FURTHER_MEMBERS:
        raise _Refused("a line's header is none that is written here")
    content = _opened(line, opening.key, _FURTHER)
    if header["export"] != opening.export or not _is_number(header["seq"], seq):
        raise _Refused("a line stands where it doesn't belong: lines were moved, left out or mixed in")
    return content


def _opened(line: bytes, key: Any, registry: jwe.JWERegistry) -> dict[str, Any]:  # noqa: ANN401 - a key of any type
    try:
        decrypted = jwe.decrypt_compact(line.rstrip(b"\r\n"), key, registry=registry)
        content = read_json(decrypted.plaintext or b"")
    except (JoseError, ValueError, LookupError, TypeError, AttributeError):
        # The library's own words may quote what it read.
        raise _Refused("a line doesn't open: it was cut off or altered, or is of another file") from None
    if not isinstance(content, dict):
        raise _Refused("a line holds no object")
    return content


def _header(line: bytes) -> dict[str, Any]:
    encoded = line.partition(b".")[0]
    try:
        header = read_json(base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise _Refused("a line is no JWE: it was cut off or altered")
    return header


def _is_number(value: object, number: int) -> bool:
    # To Python false is 0, and so is 0.0.
    return type(value) is int and value == number


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
