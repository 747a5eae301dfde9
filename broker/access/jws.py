"""A signed token in its compact form (RFC 7515 §3.1, RFC 7519): read without trust, then verified.

Reading is pure and strict: what two readers could understand differently is refused, and a header that would bring its
own key, or say where to fetch one, is never followed.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from broker.access.key_rules import ALGORITHMS, PublicKey

LONGEST: Final = 8 * 1024
"""Characters that a token may have."""

_REFUSED_HEADERS: Final = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64"})
"""Keys, and addresses of keys, of the token's own choice; demands that are not understood."""


_TRIED_AT_MOST: Final = 20
"""Keys that a token without a name is tried with: each costs time, and a stranger may send such tokens."""


class NotProvenError(Exception):
    """A token that proves nothing. The text is for the operator's log: a reason without any value of the token."""

    client_id: str | None = None
    """Whom it was shown for, where there is such a client."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """What a token says. Nothing of it is true before :func:`is_signed_by` says so."""

    algorithm: str
    kid: str | None
    type: str | None
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def read_token(text: str, types: Collection[str | None]) -> SignedToken:
    """Take a token apart.

    :param types: the values of its ``typ`` that are accepted, in lower case; ``None``: no ``typ``.
    :raises NotProvenError: it is none that can be accepted, whoever signed it.
    """
    if len(text) > LONGEST:
        raise NotProvenError("the token is too long")
    parts = text.encode("utf-8", "replace").split(b".")
    if len(parts) != 3:
        raise NotProvenError("not a signed token in compact form")
    header, claims = _object(parts[0]), _object(parts[1])
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise NotProvenError("the header brings a key, or demands what is not understood")
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotProvenError("the algorithm is none that is accepted")
    if "kid" in header and not isinstance(kid, str):
        raise NotProvenError("the kid is no text")
    # RFC 7515 §4.1.9: a media type, whose case doesn't matter and whose "application/" may be left out.
    kind = typ.lower().removeprefix("application/") if isinstance(typ, str) else None
    if kind not in types or ("typ" in header and kind is None):
        raise NotProvenError("the type of the token is another one")
    return SignedToken(algorithm, kid, kind, claims, b".".join(parts[:2]), _decoded(parts[2]))


def is_signed_by(token: SignedToken, keys: Iterable[PublicKey]) -> bool:
    """Whether one of ``keys`` signed the token: the one it names, or any of the right kind where it names none."""
    algorithm = JWSRegistry.algorithms[token.algorithm]
    # The kid is a name to compare, nothing else: never a path, an address or part of a query.
    fitting = (key for key in keys if token.algorithm in key.algorithms and token.kid in {None, key.kid})
    return any(algorithm.verify(token.signed, token.signature, key.key) for key in islice(fitting, _TRIED_AT_MOST))


def _decoded(part: bytes) -> bytes:
    try:
        return urlsafe_b64decode(part)
    except ValueError:
        raise NotProvenError("not base64url") from None


def _object(part: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            _decoded(part).decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise NotProvenError("header or claims are no JSON that can be read in one way") from None
    if not isinstance(document, dict):
        raise NotProvenError("header or claims are no JSON object")
    return document


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
