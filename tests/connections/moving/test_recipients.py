"""Keys that an export is sealed to."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key

from broker.connections.moving.recipients import UnusableKey, read_private_key, read_public_key
from tests.connections.moving.sealing import OURS, PAIRS, UNFIT, X25519, Pair, protected

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("pair", [*PAIRS.values(), *(pair.jwk for pair in PAIRS.values())])
def test_both_halves_have_one_name(pair: Pair) -> None:
    """The thumbprint of the private half is that of the public one, in PEM and as JWK."""
    public, private = read_public_key(pair.public), read_private_key(pair.private)
    assert (public.thumbprint, public.algorithm) == (private.thumbprint, private.algorithm)
    assert not public.key.is_private
    assert private.key.is_private


@pytest.mark.parametrize("pair", [*PAIRS.values(), *(pair.jwk for pair in PAIRS.values())])
def test_a_private_key_given_by_mistake_is_refused(pair: Pair) -> None:
    """With words that say which half is wanted, and without a byte of it."""  # G2
    with pytest.raises(UnusableKey) as refused:
        read_public_key(pair.private)
    (fault,) = refused.value.faults
    assert "is a private key" in fault.message
    assert pair.private[40:60].decode() not in fault.message
    with pytest.raises(UnusableKey, match="can't be used"):
        read_private_key(pair.public)


@pytest.mark.parametrize("pair", UNFIT.values(), ids=UNFIT)
def test_keys_that_are_too_weak_or_can_only_sign_are_refused(pair: Pair) -> None:
    """What would do is said."""
    for given in (pair.public, pair.jwk.public if pair is not UNFIT["RSA 1024"] else pair.public):
        with pytest.raises(UnusableKey) as refused:
            read_public_key(given)
        assert "X25519" in refused.value.faults[0].message


def test_a_short_rsa_key_is_refused_as_jwk() -> None:
    """Before the library sees it, which would write a warning."""
    pem = UNFIT["RSA 1024"].public
    with pytest.warns(SecurityWarning):
        key = import_key(pem, "RSA")
    with pytest.raises(UnusableKey):
        read_public_key(json.dumps(key.as_dict(private=False)).encode())


NO_KEYS = (
    b"",
    b"x",
    b"\xff\xfe",
    CERTIFICATE,
    b"{",
    b"[]",
    b"{}",
    b'{"kty":"oct","k":"AAAA"}',
    b'{"kty":"EC","crv":"P-256"}',
    b'{"kty":"OKP","crv":"X25519","x":7}',
    b'{"kty":"OKP","crv":"X25519","x":"AA"}',
    b"x" * 40_000,
    b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
)


@pytest.mark.parametrize("given", NO_KEYS)
def test_what_is_no_key_is_refused(given: bytes) -> None:
    """By name of the option, whatever it is."""
    for read, option in ((read_public_key, "--to"), (read_private_key, "--key")):
        with pytest.raises(UnusableKey) as refused:
            read(given)
        assert refused.value.faults[0].field == option


def test_a_certificate_is_refused_with_a_way_out() -> None:
    """It holds a public key, and the command that takes it out is told."""
    with pytest.raises(UnusableKey) as refused:
        read_public_key(CERTIFICATE)
    assert "openssl x509 -pubkey" in refused.value.faults[0].message


@pytest.mark.parametrize("meant", [{"use": "sig"}, {"key_ops": ["verify"]}, {"key_ops": []}, {"key_ops": "deriveKey"}])
def test_a_key_for_signatures_is_refused(meant: dict[str, object]) -> None:
    """Who says ``use: sig`` or ``key_ops: verify`` means it (RFC 7517 §4.2, §4.3)."""
    for read, jwk in ((read_public_key, OURS.jwk.public), (read_private_key, OURS.jwk.private)):
        read(json.dumps({**json.loads(jwk), "use": "enc", "key_ops": ["deriveKey"]}).encode())
        with pytest.raises(UnusableKey):
            read(json.dumps({**json.loads(jwk), **meant}).encode())


def test_a_jwk_that_says_something_twice_is_refused() -> None:
    """Readers disagree about which one counts (RFC 7517 §4)."""
    twice = OURS.jwk.public.replace(b"{", b'{"x": "AA", ', 1)
    with pytest.raises(UnusableKey):
        read_public_key(twice)


def encoded(number: bytes) -> str:
    """As a JWK has it."""
    return base64.urlsafe_b64encode(number).rstrip(b"=").decode()


NOBODYS: dict[str, dict[str, str]] = {
    "X25519 zero": {"kty": "OKP", "crv": "X25519", "x": encoded(bytes(32))},
    "X25519 one": {"kty": "OKP", "crv": "X25519", "x": encoded(b"\1" + bytes(31))},
    "RSA even": {"kty": "RSA", "n": encoded(b"\xff" * 255 + b"\xfe"), "e": "AQAB"},
    "RSA 1024 and zeros": {"kty": "RSA", "n": encoded(bytes(128) + b"\xff" * 128), "e": "AQAB"},
    "RSA that encrypts nothing": {"kty": "RSA", "n": encoded(b"\xff" * 256), "e": "AQ"},
}


@pytest.mark.parametrize("jwk", NOBODYS.values(), ids=NOBODYS)
def test_what_nothing_can_be_sealed_to_is_refused_with_words(jwk: dict[str, str]) -> None:
    """Before anything is exported, without a warning of the library's."""
    with pytest.raises(UnusableKey):
        read_public_key(json.dumps(jwk).encode())


def test_a_point_of_low_order_is_refused_in_pem_as_well() -> None:
    """Everybody would know the secret that it gives (RFC 7748 §6.1)."""
    point = x25519.X25519PublicKey.from_public_bytes(bytes(32))
    with pytest.raises(UnusableKey) as refused:
        read_public_key(point.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "sealed to" in refused.value.faults[0].message


def test_a_private_key_may_have_a_passphrase() -> None:
    """It is needed then, and only then does it count; a wrong one isn't repeated."""
    given = protected(X25519, b"open sesame")
    assert read_private_key(given, b"open sesame").thumbprint == read_public_key(OURS.public).thumbprint
    assert read_private_key(OURS.private, b"whatever").thumbprint == read_public_key(OURS.public).thumbprint
    for passphrase, words in ((None, "needs its passphrase"), (b"wrong-one", "another one")):
        with pytest.raises(UnusableKey) as refused:
            read_private_key(given, passphrase)
        assert words in refused.value.faults[0].message
        assert "wrong-one" not in str(refused.value.faults)
