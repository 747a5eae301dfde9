"""Signed tokens, taken apart and verified: what a stranger's text can't make us do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.jws import LONGEST, NotProvenError, is_signed_by, read_token
from broker.access.key_rules import usable_keys
from tests.signers import Signer, encoded, signed
from tests.world import FakeClock

TYPES = {None, "jwt"}
KEYS_OF_A_CLIENT = usable_keys(Signer(FakeClock(), kid=None).jwks["keys"])


def test_a_token_is_taken_apart_and_none_of_it_shows(clock: FakeClock) -> None:
    """Claims and signature stay out of what a traceback or a log would print."""  # K1
    signer = Signer(clock)
    text = signer.sign({"sub": "planted"}, x5t="ignored")
    token = read_token(text, TYPES)
    assert (token.algorithm, token.kid, token.type, token.claims) == ("ES256", "one", "jwt", {"sub": "planted"})
    assert "planted" not in repr(token)
    assert is_signed_by(token, usable_keys(signer.jwks["keys"]))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_signature_covers_header_and_claims(clock: FakeClock, place: int) -> None:
    """Any other part, though well-formed in itself, and the signature is none."""  # S1
    signer = Signer(clock)
    one, other = signer.sign({"sub": "ann"}).split("."), signer.sign({"sub": "bob"}, cty="x").split(".")
    assert one[place] != other[place]
    one[place] = other[place]
    assert not is_signed_by(read_token(".".join(one), TYPES), usable_keys(signer.jwks["keys"]))


def test_a_token_without_a_name_is_tried_with_twenty_keys_at_most(clock: FakeClock) -> None:
    """The twentieth of a long list counts and the next one doesn't: what a stranger's token costs has an end."""
    signer = Signer(clock)
    token = read_token(signer.sign({}), TYPES)
    others = [signer.renewed("one").public_key for _ in range(20)]
    assert is_signed_by(token, usable_keys([*others[:19], signer.public_key]))
    assert not is_signed_by(token, usable_keys([*others, signer.public_key]))


def test_only_keys_that_fit_are_tried(clock: FakeClock) -> None:
    """Keys of other kinds and names don't count among the twenty."""
    signer = Signer(clock)
    others = [Signer(clock, "Ed25519").public_key] * 50 + [
        {**signer.public_key, "kid": f"other-{n}"} for n in range(50)
    ]
    token = read_token(signer.sign({}), TYPES)
    assert is_signed_by(token, usable_keys([*others, signer.public_key]))
    assert not is_signed_by(token, usable_keys(others))


def test_another_spelling_of_a_signature_is_no_signature(clock: FakeClock) -> None:
    """One token has one form: no padding, no stray bits, no other alphabet."""
    good = Signer(clock).sign({})
    head, _, signature = good.rpartition(".")
    standard = signature.replace("-", "+").replace("_", "/")
    for other in (
        f"{signature}==",
        f"{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
        f"{signature}\n",
        f" {signature}",
    ):
        with pytest.raises(NotProvenError):
            read_token(f"{head}.{other}", TYPES)
    if standard != signature:
        with pytest.raises(NotProvenError):
            read_token(f"{head}.{standard}", TYPES)


@pytest.mark.parametrize(
    "claims",
    [b'{"x":NaN}', b'{"x":Infinity}', b'{"x":-Infinity}', b'{"x":{"y":1,"y":1}}', b"{'x':1}", b'{"x":1}x', b"", b" "],
)
def test_claims_that_are_no_json_are_refused(clock: FakeClock, claims: bytes) -> None:
    """RFC 8259 knows no such numbers; and what stands twice, at whatever depth, could be read in two ways."""
    with pytest.raises(NotProvenError):
        read_token(Signer(clock).sign(claims), TYPES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "x"]), JSON | st.just("ES256"))
PARTS = st.tuples(st.binary() | HEADERS, st.binary() | JSON, st.binary())


@given(parts=PARTS)
def test_no_token_is_an_error_of_ours(parts: tuple[Any, Any, bytes]) -> None:
    """Whatever stands in it: it can be read, or it proves nothing."""
    text = ".".join(map(encoded, parts))
    try:
        token = read_token(text, TYPES)
    except NotProvenError:
        return
    assert not is_signed_by(token, KEYS_OF_A_CLIENT)


@given(text=st.text())
def test_no_text_is_an_error_of_ours(text: str) -> None:
    """Nor one that isn't even in three parts."""
    with pytest.raises(NotProvenError):
        read_token(text, TYPES)


def test_a_refusal_repeats_nothing_of_the_token() -> None:
    """Its text is for a log."""  # K1
    for text in (
        "planted",
        "planted.planted.planted",
        "p" * (LONGEST + 1),
        signed(None, "none", {"alg": "planted"}, {}),
    ):
        with pytest.raises(NotProvenError) as refused:
            read_token(text, TYPES)
        assert "planted" not in str(refused.value)
        assert refused.value.__cause__ is None
