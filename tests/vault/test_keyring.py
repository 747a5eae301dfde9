"""The envelope: opens only where it was sealed, with the key it was sealed with, and whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigurationError, SealBroken, StoreUnavailable
from broker.vault.keyring import Keyring, Place, key_of

KEY_1, KEY_2 = bytes(range(32)), bytes(range(32, 64))
PLACE = Place("acme", "con_1", "grant_1", "access_token", 7)

words = st.text(max_size=40)
places = st.builds(Place, words, words, words, words, st.integers(0, 2**63 - 1))


@given(place=places, plaintext=st.binary(max_size=2000))
def test_what_was_sealed_for_a_place_opens_there(place: Place, plaintext: bytes) -> None:
    """Any plaintext sealed for any place opens to the same bytes."""
    ring = Keyring([("k1", KEY_1)])
    assert ring.open(place, ring.seal(place, plaintext)) == plaintext


@given(sealed_for=places, opened_at=places)
def test_nothing_opens_anywhere_else(sealed_for: Place, opened_at: Place) -> None:
    """Two places share no envelope, however their parts run together."""  # K2
    ring = Keyring([("k1", KEY_1)])
    envelope = ring.seal(sealed_for, b"secret")
    if sealed_for == opened_at:
        assert ring.open(opened_at, envelope) == b"secret"
        return
    with pytest.raises(SealBroken):
        ring.open(opened_at, envelope)


@pytest.mark.parametrize(
    "moved",
    [
        {"tenant": "other"},
        {"owner": "con_2"},
        {"grant": "grant_2"},
        {"field": "secrets"},
        {"generation": 8},
        {"tenant": "acmecon_1", "owner": ""},
        {"owner": "con_1grant_1", "grant": ""},
        {"grant": "grant_1access_", "field": "token"},
    ],
    ids=["tenant", "owner", "grant", "field", "generation", "tenant+owner", "owner+grant", "grant+field"],
)
def test_a_moved_ciphertext_does_not_open(moved: dict[str, str | int]) -> None:
    """Each part of the place is authenticated, and so is where one part ends and the next begins."""  # K2
    ring = Keyring([("k1", KEY_1)])
    with pytest.raises(SealBroken):
        ring.open(PLACE._replace(**moved), ring.seal(PLACE, b"secret"))  # type: ignore[arg-type]


def test_a_ciphertext_under_another_key_id_does_not_open() -> None:
    """Relabelling an envelope with the id of another key of the ring, even of the same key, breaks it."""  # K2
    ring = Keyring([("k1", KEY_1), ("k2", KEY_1)])
    envelope = ring.seal(PLACE, b"secret")
    with pytest.raises(SealBroken):
        ring.open(PLACE, envelope.replace(b"k1", b"k2", 1))


def test_every_flipped_byte_breaks_the_seal() -> None:
    """An envelope with any one byte changed, in any of its bits, does not open."""  # K3
    ring = Keyring([("k1", KEY_1), ("k", KEY_2)])
    envelope = ring.seal(PLACE, b"secret")
    for position in range(len(envelope)):
        for bit in range(8):
            changed = bytearray(envelope)
            changed[position] ^= 1 << bit
            with pytest.raises(SealBroken):
                ring.open(PLACE, bytes(changed))


def test_every_shortened_or_prolonged_envelope_breaks() -> None:
    """Nothing that is cut off, down to nothing at all, opens, nor does one with a byte more."""  # K3
    ring = Keyring([("k1", KEY_1)])
    envelope = ring.seal(PLACE, b"secret")
    for broken in [*(envelope[:length] for length in range(len(envelope))), envelope + b"\0"]:
        with pytest.raises(SealBroken):
            ring.open(PLACE, broken)


@given(envelope=st.binary(max_size=100))
def test_garbage_never_opens_nor_fails_otherwise(envelope: bytes) -> None:
    """Arbitrary bytes raise SealBroken and nothing else."""  # K3
    with pytest.raises(SealBroken):
        Keyring([("k1", KEY_1)]).open(PLACE, envelope)


def test_an_unknown_key_id_and_an_unknown_version_are_told_apart_from_damage() -> None:
    """The message says whether a key or a format is missing; it quotes no ciphertext."""  # K3
    envelope = Keyring([("k9", KEY_2)]).seal(PLACE, b"secret")
    ring = Keyring([("k1", KEY_1)])
    with pytest.raises(SealBroken, match="not in BROKER_ENCRYPTION_KEYS"):
        ring.open(PLACE, envelope)
    with pytest.raises(SealBroken, match="unknown format"):
        ring.open(PLACE, b"\x02" + envelope[1:])


def test_a_ring_reads_with_every_key_and_writes_with_one() -> None:
    """The first key writes until another is named; what any key of the ring sealed opens."""
    old, new = Keyring([("k1", KEY_1)]), Keyring([("k1", KEY_1), ("k2", KEY_2)])
    by_first = new.seal(PLACE, b"secret")
    assert old.open(PLACE, by_first) == b"secret"
    new.write_with("k2")
    by_second = new.seal(PLACE, b"secret")
    assert new.writer == "k2"
    assert [new.open(PLACE, envelope) for envelope in (by_first, by_second)] == [b"secret", b"secret"]
    with pytest.raises(SealBroken):
        old.open(PLACE, by_second)


def test_a_writer_that_the_ring_lacks_is_refused() -> None:
    """The writing key stays as it was."""
    ring = Keyring([("k1", KEY_1)])
    with pytest.raises(ConfigurationError, match="k2"):
        ring.write_with("k2")
    assert ring.writer == "k1"


def test_a_rewrapped_secret_is_sealed_for_the_same_place_only() -> None:
    """It opens where it did before, with the new key alone; a broken one is never sealed anew."""  # K2, K3
    ring = Keyring([("k2", KEY_2), ("k1", KEY_1)])
    envelope = Keyring([("k1", KEY_1)]).seal(PLACE, b"secret")
    rewrapped = ring.rewrap(PLACE, envelope, "k2")
    assert (key_of(envelope), key_of(rewrapped)) == ("k1", "k2")
    assert Keyring([("k2", KEY_2)]).open(PLACE, rewrapped) == b"secret"
    for moved in (PLACE._replace(generation=8), PLACE._replace(owner="con_2")):
        with pytest.raises(SealBroken):
            ring.rewrap(moved, envelope, "k2")
        with pytest.raises(SealBroken):
            ring.open(moved, rewrapped)
    for garbage in (b"", b"\1", b"\2" + envelope[1:]):
        with pytest.raises(SealBroken):
            key_of(garbage)


def test_the_first_key_is_what_the_rings_owner_wants_to_write() -> None:
    """Whichever the store says writes."""
    ring = Keyring([("k2", KEY_2), ("k1", KEY_1)])
    ring.write_with("k1")
    assert (ring.first, ring.writer) == ("k2", "k1")


def test_the_same_secret_sealed_twice_has_nothing_in_common() -> None:
    """Nonce and ciphertext differ each time; only the head with the key id is the same."""
    ring = Keyring([("k1", KEY_1)])
    first, second = ring.seal(PLACE, b"secret"), ring.seal(PLACE, b"secret")
    head = 2 + len("k1")
    assert first[:head] == second[:head]
    assert first[head : head + 12] != second[head : head + 12]
    assert first[head + 12 :] != second[head + 12 :]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "at least one"),
        ([("k1", KEY_1), ("k1", KEY_2)], "key id of its own"),
        ([("k1", KEY_1[:16])], "'k1' is not 32 bytes"),
        ([("k1", KEY_1), ("k2", KEY_2 + b"\0")], "'k2' is not 32 bytes"),
    ],
)
def test_an_unusable_ring_is_refused(keys: list[tuple[str, bytes]], said: str) -> None:
    """No key, a doubled id and a key of another length are configuration errors that name the key by its id."""
    with pytest.raises(ConfigurationError, match=said):
        Keyring(keys)


def test_neither_repr_nor_fingerprints_nor_errors_show_a_key() -> None:
    """What can be printed of a ring holds key ids only; a fingerprint tells keys apart and is no part of one."""  # K1
    ring = Keyring([("k1", KEY_1), ("k2", KEY_2)])
    with pytest.raises(SealBroken) as broken:
        ring.open(PLACE, ring.seal(PLACE._replace(generation=1), b"top secret"))
    shown = f"{ring!r} {ring} {dict(ring.fingerprints())} {broken.value}"
    for key in (KEY_1, KEY_2):
        for form in (key.hex(), key.hex()[:16], repr(key), repr(key)[2:12]):
            assert form not in shown
    assert "top secret" not in shown
    assert ring.fingerprints() != Keyring([("k1", KEY_2), ("k2", KEY_2)]).fingerprints()
    assert len(set(Keyring([("k1", KEY_1), ("k2", KEY_1)]).fingerprints().values())) == 1


def test_who_hears_nothing_for_too_long_seals_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped may have been left behind by a rotation: it asks first. It opens as before."""  # K5
    now = 1_000.0
    monkeypatch.setattr("broker.vault.keyring.steady", lambda: now)
    keyring = Keyring([("k1", bytes(range(32)))])
    place = Place("acme", "con_1", "grant_1", "secrets", 1)
    keyring.believe_until(now + 30)
    envelope = keyring.seal(place, b"secret")
    now += 31
    with pytest.raises(StoreUnavailable):
        keyring.seal(place, b"secret")
    assert keyring.open(place, envelope) == b"secret"
    keyring.believe_until(now + 30)
    assert keyring.open(place, keyring.seal(place, b"again")) == b"again"
