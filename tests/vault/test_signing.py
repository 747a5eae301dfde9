"""Signed values: what browsers carry is signed by the writing key and checked against all of them."""

import hashlib

import pytest
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from broker.vault.keyring import Keyring

KEY_1, KEY_2 = bytes(range(32)), bytes(range(32, 64))


def test_the_writer_signs_and_every_key_is_accepted() -> None:
    """Signed with the new key, and a value signed with the old one is still good."""
    old = Keyring([("k1", KEY_1)])
    ring = Keyring([("k1", KEY_1), ("k2", KEY_2)])
    ring.write_with("k2")
    new = Keyring([("k2", KEY_2)])
    signed = ring.serializer("cookie").dumps(["cs_1", "s"])
    assert new.serializer("cookie").loads(signed) == ["cs_1", "s"]
    with pytest.raises(BadSignature):
        old.serializer("cookie").loads(signed)
    assert ring.serializer("cookie").loads(old.serializer("cookie").dumps("before")) == "before"


def test_a_signer_that_was_handed_out_changes_over_too() -> None:
    """Made before the move, it signs with the new key after it: replicas without the old one accept that."""  # K4
    ring = Keyring([("k1", KEY_1), ("k2", KEY_2)])
    signer, other = ring.serializer("cookie"), ring.serializer("cursor")
    before = signer.dumps("x")
    ring.write_with("k2")
    alone = Keyring([("k2", KEY_2)])
    assert alone.serializer("cookie").loads(signer.dumps("y")) == "y"
    assert alone.serializer("cursor").loads(other.dumps("z")) == "z"
    # A browser that left before comes back after.
    assert signer.loads(before) == "x"
    ring.write_with("k1")
    assert Keyring([("k1", KEY_1)]).serializer("cookie").loads(signer.dumps("back")) == "back"


def test_the_first_key_signs_by_default() -> None:
    """Of a ring that nobody told which key writes, the first one signs, whatever the library's own order."""
    signed = Keyring([("k1", KEY_1), ("k2", KEY_2)]).serializer("cookie").dumps("x")
    assert Keyring([("k1", KEY_1)]).serializer("cookie").loads(signed) == "x"


def test_a_signature_holds_for_one_purpose_only() -> None:
    """A cookie's signature is none for a cursor."""
    ring = Keyring([("k1", KEY_1)])
    with pytest.raises(BadSignature):
        ring.serializer("cursor").loads(ring.serializer("cookie").dumps("x"))


def test_signatures_are_sha_256_and_not_the_librarys_default() -> None:
    """The digest is SHA-256's length; a signer with the default digest neither makes nor accepts it."""
    serializer = Keyring([("k1", KEY_1)]).serializer("cookie")
    signed = serializer.dumps("x")
    signer = serializer.make_signer("cookie")
    assert signer.digest_method is hashlib.sha256
    assert len(signed.rpartition(".")[2]) == 43  # 32 bytes in unpadded base64
    weaker = URLSafeTimedSerializer(
        list(serializer.secret_keys), salt="cookie", signer_kwargs={"key_derivation": "hmac"}
    )
    with pytest.raises(BadSignature):
        serializer.loads(weaker.dumps("x"))


def test_a_changed_or_late_value_is_refused() -> None:
    """Each changed character, and a value past its age, is refused."""
    serializer = Keyring([("k1", KEY_1)]).serializer("cookie")
    signed = str(serializer.dumps("secret"))
    for position, character in enumerate(signed[:-1]):  # the last character of base64 holds unused bits
        swapped = "A" if character != "A" else "B"
        with pytest.raises(BadSignature):
            serializer.loads(signed[:position] + swapped + signed[position + 1 :])
    with pytest.raises(SignatureExpired):
        serializer.loads(signed, max_age=-1)
