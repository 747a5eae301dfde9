"""Which public keys may prove who somebody is, and which algorithms go with them (RFC 7517, RFC 7518, RFC 8037).

The one list of algorithms that signatures are accepted with stands here. It has none that a public key could be turned
against: neither ``none`` nor an HMAC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.errors import FieldFault, InvalidRequest

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""JWS algorithms that a signature may name. ``EdDSA`` is what ``Ed25519`` was called before RFC 9864."""

KEYS_AT_MOST: Final = 20
"""Keys of a registered set. A rotation needs two."""

_RSA_ALGORITHMS: Final = ALGORITHMS[:6]
_EDWARDS: Final = ("Ed25519", "EdDSA")
_CURVE_ALGORITHMS: Final = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_RSA_BITS: Final = range(2048, 8192 + 1)
# Verifying takes time in proportion to the exponent's length.
_EXPONENT_BELOW: Final = 2**33
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KEPT_MEMBERS: Final = ("kty", "crv", "n", "e", "x", "y", "kid", "use", "alg", "key_ops")
_LONGEST_MEMBER: Final = 1400  # the modulus of an RSA key of 8192 bits
_LONGEST_KID: Final = 255


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures."""

    kid: str
    """Its name; for a key without one, its thumbprint (RFC 7638), which is what signers call such a key."""
    algorithms: frozenset[str]
    """The algorithms it may be used with: those of its type, or the one that it names."""
    key: RSAKey | ECKey | OKPKey


class _UnusableError(Exception):
    """A key that proves nothing here; the text says why, never with which value."""


def check_jwks(document: object, field: str = "jwks") -> dict[str, Any]:
    """A JWK Set (RFC 7517 §5) that somebody registers, reduced to the members that mean something here.

    :param field: how the request calls it; faults are named after it.
    :raises InvalidRequest: naming every key that is wrong. Nothing of a key is repeated, for it may be a private one.
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_AT_MOST:
        text = f"a JWK Set is needed: an object whose 'keys' are 1 to {KEYS_AT_MOST} public keys"
        raise InvalidRequest("the keys can't be registered", [FieldFault(field, text)])
    faults, kids = [], list[str]()
    for index, member in enumerate(keys):
        try:
            kids.append(_read(member).kid)
        except _UnusableError as error:
            faults.append(FieldFault(f"{field}.keys.{index}", str(error)))
    if len(set(kids)) != len(kids):
        faults.append(FieldFault(field, "two keys have the same kid"))
    if faults:
        raise InvalidRequest("the keys can't be registered", faults)
    return {"keys": [{name: key[name] for name in _KEPT_MEMBERS if name in key} for key in keys]}


def usable_keys(members: Sequence[object]) -> tuple[PublicKey, ...]:
    """Those of a set's keys that can be used; the others are passed over, as RFC 7517 §5 asks.

    A private key among them is passed over as well: whoever publishes it has told everybody how to sign.
    """
    found = []
    for member in members:
        try:
            found.append(_read(member))
        except _UnusableError:
            continue
    return tuple(found)


def _read(member: object) -> PublicKey:
    if not isinstance(member, Mapping):
        raise _UnusableError("a key is an object")
    if member.get("kty") == "oct":
        raise _UnusableError("a shared secret (kty 'oct') proves nothing here; register a public key")
    if not _PRIVATE_MEMBERS.isdisjoint(member):
        raise _UnusableError("this is a private key, which must stay with its owner; register its public half")
    if member.get("use", "sig") != "sig":
        raise _UnusableError("the key's use must be 'sig'")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _UnusableError("the key's key_ops must hold 'verify'")
    kid = member.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _LONGEST_KID and kid.isprintable()):
        raise _UnusableError(f"a kid has 1 to {_LONGEST_KID} printable characters")
    key, algorithms = _key_of(member)
    if "alg" in member:
        algorithms = _only(member["alg"], algorithms)
    return PublicKey(kid or key.thumbprint(), frozenset(algorithms), key)


def _key_of(member: Mapping[str, Any]) -> tuple[RSAKey | ECKey | OKPKey, Sequence[str]]:
    # The parts alone: whatever else stands there is not for the library to interpret.
    parts = {name: member[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in member}
    if not all(isinstance(part, str) and len(part) <= _LONGEST_MEMBER for part in parts.values()):
        raise _UnusableError("the key's parts must be strings of at most 8192 bits")
    try:
        match parts:
            case {"kty": "RSA", "n": modulus}:
                # Judged before the library sees it, which would warn about a short one on standard error.
                if len(modulus) * 6 < _RSA_BITS.start:
                    raise _UnusableError("an RSA key has 2048 to 8192 bits")
                return _fit_rsa(RSAKey.import_key(parts)), _RSA_ALGORITHMS
            case {"kty": "EC", "crv": curve} if curve in _CURVE_ALGORITHMS:
                return ECKey.import_key(parts), _CURVE_ALGORITHMS[curve]
            case {"kty": "OKP", "crv": "Ed25519"}:
                return _fit_edwards(OKPKey.import_key(parts)), _EDWARDS
    except (JoseError, ValueError):
        raise _UnusableError("the key's parts make no key") from None
    raise _UnusableError("a key is RSA, EC on P-256, P-384 or P-521, or OKP on Ed25519")


def _fit_rsa(key: RSAKey) -> RSAKey:
    public = key.public_key
    if (
        public.key_size not in _RSA_BITS
        or public.public_numbers().n % 2 == 0
        or public.public_numbers().e >= _EXPONENT_BELOW
    ):
        raise _UnusableError("an RSA key has 2048 to 8192 bits, and an exponent of at most 33")
    return key


def _fit_edwards(key: OKPKey) -> OKPKey:
    """The key, unless its point is of small order: for such a one anybody can make signatures (RFC 8032 §5.1)."""
    y = int.from_bytes(key.public_key.public_bytes_raw(), "little") % 2**255
    # Of order 1, 2 and 4; and of order 8, which doubled give order 4.
    weak = y in {0, 1, _P - 1} or (_D * y**4 + 2 * y * y - 1) % _P == 0
    if y >= _P or weak:
        raise _UnusableError("the key's point is one that anybody can sign for")
    return key


def _only(alg: object, algorithms: Sequence[str]) -> Sequence[str]:
    meant = _EDWARDS if alg in _EDWARDS else (alg,)
    allowed = [name for name in algorithms if name in meant]
    if not allowed:
        raise _UnusableError("the key's alg is none that is accepted with a key of its type")
    return allowed
