"""Public keys that are registered or fetched: what is taken, what is refused, and that a refusal repeats nothing."""

import json
import warnings
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from broker.access.key_rules import ALGORITHMS, KEYS_AT_MOST, check_jwks, usable_keys
from broker.errors import InvalidRequest

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
PUBLIC: dict[str, Any] = {**EC.as_dict(private=False), "kid": "one"}


def small_rsa() -> dict[str, Any]:
    """A key that is too short."""
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        return dict(RSAKey.generate_key(1024).as_dict(private=False))


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (RSA, set(ALGORITHMS[:6])),
        (EC, {"ES256"}),
        (ECKey.generate_key("P-384"), {"ES384"}),
        (ECKey.generate_key("P-521"), {"ES512"}),
        (ED, {"EdDSA", "Ed25519"}),
    ],
)
def test_every_kind_of_key_has_its_algorithms(key: Any, algorithms: set[str]) -> None:
    """A key is good for the algorithms of its type and curve, and for no other."""
    [read] = usable_keys([key.as_dict(private=False)])
    assert read.algorithms == algorithms
    assert read.kid == key.thumbprint()
    assert not read.key.is_private


def test_no_algorithm_can_be_turned_against_a_public_key() -> None:
    """Neither ``none`` nor an HMAC is ever accepted."""  # S1
    assert all(name[:2] in {"RS", "PS", "ES", "Ed"} for name in ALGORITHMS)


@pytest.mark.parametrize(("alg", "algorithms"), [("PS384", {"PS384"}), ("RS256", {"RS256"})])
def test_a_key_that_names_its_algorithm_is_good_for_that_one(alg: str, algorithms: set[str]) -> None:
    """RFC 7517 §4.4."""
    [read] = usable_keys([{**RSA.as_dict(private=False), "alg": alg}])
    assert read.algorithms == algorithms


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_both_names_of_the_edwards_algorithm_mean_the_same(alg: str) -> None:
    """RFC 9864 gave it another name."""
    [read] = usable_keys([{**ED.as_dict(private=False), "alg": alg}])
    assert read.algorithms == {"EdDSA", "Ed25519"}


WRONG: dict[str, Any] = {
    "a private RSA key": RSA.as_dict(private=True),
    "a private EC key": EC.as_dict(private=True),
    "a private Edwards key": ED.as_dict(private=True),
    "a private exponent that is null": {**PUBLIC, "d": None},
    "a shared secret": OctKey.generate_key(256).as_dict(private=True),
    "a short RSA key": small_rsa(),
    "a long RSA key": {"kty": "RSA", "e": "AQAB", "n": "_" * 1367},
    "a monstrous RSA key": {"kty": "RSA", "e": "AQAB", "n": "A" * 100_000},
    "an RSA key whose exponent is huge": {**RSA.as_dict(private=False), "e": "AQAAAAAAAAAB"},
    "an RSA key whose exponent is one": {**RSA.as_dict(private=False), "e": "AQ"},
    "a curve without use here": {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
    "a point beside the curve": {**EC.as_dict(private=False), "x": "AA"},
    "no point": {"kty": "EC", "crv": "P-256"},
    "another Edwards curve": OKPKey.generate_key("Ed448").as_dict(private=False),
    "a key for agreement": OKPKey.generate_key("X25519").as_dict(private=False),
    "an unknown type": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    "no type": {"n": "AA", "e": "AQAB"},
    "a key for encryption": {**PUBLIC, "use": "enc"},
    "a key that may not verify": {**PUBLIC, "key_ops": ["encrypt"]},
    "operations that are none": {**PUBLIC, "key_ops": "verify"},
    "an algorithm that doesn't fit": {**PUBLIC, "alg": "RS256"},
    "an HMAC's algorithm": {**RSA.as_dict(private=False), "alg": "HS256"},
    "an algorithm that is none": {**PUBLIC, "alg": ["ES256"]},
    "an empty kid": {**PUBLIC, "kid": ""},
    "a kid that is a number": {**PUBLIC, "kid": 7},
    "a long kid": {**PUBLIC, "kid": "k" * 256},
    "parts that are no text": {"kty": "EC", "crv": "P-256", "x": 7, "y": []},
    "parts that aren't base64url": {**EC.as_dict(private=False), "x": "+/=é"},
    "no object": ["kty", "EC"],
    "nothing": None,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_key_that_is_not_fit_is_refused_and_passed_over(wrong: Any) -> None:
    """Refused where somebody registers it, and by its place; passed over where it is published."""  # S1
    with pytest.raises(InvalidRequest) as refused:
        check_jwks({"keys": [PUBLIC, wrong]})
    [fault] = refused.value.faults
    assert fault.field == "jwks.keys.1"
    assert [key.kid for key in usable_keys([PUBLIC, wrong])] == ["one"]


@pytest.mark.parametrize("key", [RSA, EC, ED])
def test_a_private_key_is_never_repeated(key: Any) -> None:
    """Who registers one by mistake is told so, without a piece of it."""  # K1
    private = key.as_dict(private=True)
    with pytest.raises(InvalidRequest) as refused:
        check_jwks({"keys": [private]}, "workloads.0.jwks")
    text = repr((refused.value, refused.value.faults))
    assert "private key" in text
    assert "workloads.0.jwks.keys.0" in text
    assert not any(value in text for value in private.values() if len(value) > 5)


def test_a_shared_secret_is_called_one() -> None:
    """Its owner mustn't look for a private half."""
    with pytest.raises(InvalidRequest) as refused:
        check_jwks({"keys": [WRONG["a shared secret"]]})
    assert "shared secret" in refused.value.faults[0].message


@pytest.mark.parametrize(
    "document",
    [None, [], {}, "", PUBLIC, {"keys": []}, {"keys": None}, {"keys": {}}, {"keys": [PUBLIC] * (KEYS_AT_MOST + 1)}],
)
def test_a_set_is_an_object_with_one_to_twenty_keys(document: Any) -> None:
    """Anything else is one fault, of the field itself."""
    with pytest.raises(InvalidRequest) as refused:
        check_jwks(document)
    assert [fault.field for fault in refused.value.faults] == ["jwks"]


def test_two_keys_of_one_name_are_refused() -> None:
    """A signature that names it could mean either (RFC 7517 §4.5)."""
    with pytest.raises(InvalidRequest, match="registered") as refused:
        check_jwks({"keys": [PUBLIC, {**RSA.as_dict(private=False), "kid": "one"}]})
    assert "same kid" in refused.value.faults[0].message
    assert len(check_jwks({"keys": [EC.as_dict(private=False), RSA.as_dict(private=False)]})["keys"]) == 2


def test_what_means_nothing_is_not_kept() -> None:
    """Certificates and members of somebody's own stay out of the store; what is kept can be read again."""
    more = {**PUBLIC, "x5c": ["MII"], "x5u": "https://x.test/", "note": "x" * 10_000, "key_ops": ["verify"]}
    kept = check_jwks({"keys": [more], "note": "x"})
    assert kept == {"keys": [{**PUBLIC, "key_ops": ["verify"]}]}
    assert check_jwks(json.loads(json.dumps(kept))) == kept


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        b"\x01" + bytes(31),
        b"\x01" + bytes(30) + b"\x80",
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 19).to_bytes(32, "little"),
        (2**255 - 18).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ],
)
def test_a_point_that_anybody_can_sign_for_is_no_key(point: bytes) -> None:
    """Of small order, or spelled in a second way: neither registered nor used where somebody publishes it."""  # S1
    key = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(point).rstrip(b"=").decode()}
    with pytest.raises(InvalidRequest):
        check_jwks({"keys": [key]})
    assert usable_keys([key]) == ()
