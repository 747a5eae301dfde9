"""Keys that an export is sealed to: the public half, which the operator gives, and the private one that opens it.

X25519 and the NIST curves by ECDH-ES+A256KW (RFC 7518 §4.6, RFC 8037 §3.2), RSA by RSA-OAEP-256 (RFC 7518 §4.3). As PEM
(SubjectPublicKeyInfo; PKCS #8, PKCS #1 or SEC 1) or as a JWK (RFC 7517). No message repeats anything of a key.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.connections.moving.json_items import read_json
from broker.errors import FieldFault, InvalidRequest

LONGEST: Final = 32_768
"""Bytes of a file that holds a key."""
_RSA_BITS: Final = range(2048, 8192 + 1)
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"}) | _PRIVATE_MEMBERS
_OPERATIONS: Final = ("deriveKey", "deriveBits", "wrapKey", "unwrapKey", "encrypt", "decrypt")
"""What a key may be meant for (RFC 7517 §4.3)."""
_TAKEN: Final = "X25519, EC on P-256, P-384 or P-521, or RSA of 2048 to 8192 bits"


class UnusableKey(InvalidRequest):
    """What is given as a key is none that an export can be sealed to, or opened with."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__("the key can't be used", [FieldFault(option, message)])


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A key, public or private."""

    key: OKPKey | ECKey | RSAKey = field(repr=False)
    algorithm: str
    """The ``alg`` that keys are wrapped with for it (RFC 7518 §4.1)."""
    thumbprint: str
    """Which key it is; the same for both halves (RFC 7638)."""


def read_public_key(given: bytes, option: str = "--to") -> RecipientKey:
    """The public key that a file holds.

    :param option: what the file was given by; faults are named after it.
    :raises UnusableKey: it holds none, or a private one.
    """
    text = _text(given, option)
    if text.startswith("{"):
        members = _jwk(text, option)
        if not _PRIVATE_MEMBERS.isdisjoint(members):
            raise UnusableKey(option, _PRIVATE)
        return _tried(_of_jwk(members, option), option)
    if "PRIVATE KEY-----" in text:
        raise UnusableKey(option, _PRIVATE)
    if "BEGIN CERTIFICATE-----" in text:
        raise UnusableKey(option, "is a certificate; take the key out: openssl x509 -pubkey -noout -in FILE")
    try:
        return _tried(_fit(load_pem_public_key(text.encode()), option), option)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(option, f"is no public key in PEM, nor a JWK: {_TAKEN}") from None


def read_private_key(given: bytes, passphrase: bytes | None = None, option: str = "--key") -> RecipientKey:
    """The private key that a file holds.

    :raises UnusableKey: it holds none, or it needs another passphrase.
    """
    text = _text(given, option)
    if text.startswith("{"):
        members = _jwk(text, option)
        if "d" not in members:
            raise UnusableKey(option, "is a public key; an export is opened with its private half")
        return _of_jwk(members, option)
    if "PUBLIC KEY-----" in text:
        raise UnusableKey(option, "is a public key; an export is opened with its private half")
    if needs_passphrase(given) and not passphrase:
        raise UnusableKey(option, "needs its passphrase")
    try:
        # The library refuses a passphrase for a key that has none.
        return _fit(load_pem_private_key(text.encode(), passphrase if needs_passphrase(given) else None), option)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "its passphrase is another one, or it" if passphrase else "it"
        raise UnusableKey(option, f"{why} is no private key in PEM, nor a JWK: {_TAKEN}") from None


def needs_passphrase(given: bytes) -> bool:
    """Whether the private key in a file is encrypted (RFC 5958; of older files, RFC 1421 headers)."""
    return b"BEGIN ENCRYPTED PRIVATE KEY-----" in given or b"Proc-Type: 4,ENCRYPTED" in given


_PRIVATE: Final = (
    "is a private key, which must stay where the export is opened; give its public half: openssl pkey -pubout -in FILE"
)


def _text(given: bytes, option: str) -> str:
    try:
        text = given.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > LONGEST:
        raise UnusableKey(option, "is no key in PEM, nor a JWK")
    return text


def _jwk(text: str, option: str) -> dict[str, Any]:
    try:
        members = read_json(text.encode())
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise UnusableKey(option, "is no JWK")
    if members.get("use", "enc") != "enc":
        raise UnusableKey(option, "is a key for signatures (its use is not 'enc')")
    operations = members.get("key_ops", list(_OPERATIONS))
    if not isinstance(operations, list) or not any(each in _OPERATIONS for each in operations):
        raise UnusableKey(option, f"is a key for something else (its key_ops have none of {', '.join(_OPERATIONS)})")
    # The parts alone: whatever else stands there is not for the library to interpret.
    return {name: value for name, value in members.items() if name in _MEMBERS}


def _of_jwk(members: Mapping[str, Any], option: str) -> RecipientKey:
    parts: dict[str, str | list[str]] = {name: value for name, value in members.items() if isinstance(value, str)}
    try:
        match members.get("kty"):
            case "OKP" if members.get("crv") == "X25519":
                key: OKPKey | ECKey | RSAKey = OKPKey.import_key(parts)
            case "EC":
                key = ECKey.import_key(parts)
            # Judged before the library sees it, which would warn about a short one on standard error.
            case "RSA" if _bits_of(str(parts.get("n", ""))) in _RSA_BITS:
                key = RSAKey.import_key(parts)
            case _:
                raise UnusableKey(option, f"is a key of another kind: it takes {_TAKEN}")
        return _fit(key.private_key or key.public_key, option)
    except (JoseError, ValueError, KeyError, TypeError):
        raise UnusableKey(option, "the JWK's parts make no key") from None


def _bits_of(encoded: str) -> int:
    """How large a number in base64url is, whatever zeros it begins with."""
    return int.from_bytes(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))).bit_length()


def _tried(recipient: RecipientKey, option: str) -> RecipientKey:
    """The key, once something could be sealed to it.

    What looks like a key may be none: points of low order give every sender the same secret (RFC 7748 §6.1), and a
    number without two large primes encrypts nothing.
    """
    header = {"alg": recipient.algorithm, "enc": "A256GCM"}
    try:
        jwe.encrypt_compact(header, b"", recipient.key, algorithms=[*header.values()])
    except (JoseError, ValueError):
        raise UnusableKey(option, "is none that anything can be sealed to") from None
    return recipient


def _fit(key: object, option: str) -> RecipientKey:
    public = key.public_key() if hasattr(key, "public_key") else key
    fit: OKPKey | ECKey | RSAKey
    match public:
        case x25519.X25519PublicKey():
            fit = OKPKey.import_key(cast("x25519.X25519PublicKey", key))
        case ec.EllipticCurvePublicKey() if isinstance(public.curve, _CURVES):
            fit = ECKey.import_key(cast("ec.EllipticCurvePublicKey", key))
        case rsa.RSAPublicKey() if public.key_size in _RSA_BITS:
            fit = RSAKey.import_key(cast("rsa.RSAPublicKey", key))
            return RecipientKey(fit, "RSA-OAEP-256", fit.thumbprint())
        case _:
            raise UnusableKey(option, f"is a key of another kind: it takes {_TAKEN}")
    return RecipientKey(fit, "ECDH-ES+A256KW", fit.thumbprint())
