"""Ids and secrets: their shapes, their randomness, and what is stored in a secret's place."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.models.ids import BUCKETS, bearing_secret, bucket_of, digest, is_id, new_id, new_secret, owner_of

ALPHABET = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def test_ids_carry_128_bits_and_secrets_256() -> None:
    """62^22 > 2^128 and 62^43 > 2^256; every character is one of 62."""
    identifier, secret = new_id("con"), new_secret("bat")
    assert identifier.startswith("con_")
    assert 62 ** len(identifier.removeprefix("con_")) > 2**128
    assert 62 ** len(secret.removeprefix("bat_")) > 2**256
    assert set(identifier[4:] + secret[4:] + new_secret()) <= ALPHABET


def test_every_character_is_drawn_evenly() -> None:
    """No character is favoured: 64 500 draws of 62 characters stay within six standard deviations."""
    drawn = Counter("".join(new_secret() for _ in range(1500)))
    mean = sum(drawn.values()) / 62
    assert drawn.keys() == ALPHABET
    assert all(abs(count - mean) < 6 * mean**0.5 for count in drawn.values())


def test_ids_do_not_repeat() -> None:
    """Two ids are never the same."""
    assert len({new_id("evt") for _ in range(2000)}) == 2000


@pytest.mark.parametrize(
    "value",
    ["", "con_", "con", "con_short", "cs_" + "a" * 22, "con_" + "a" * 21, "con_" + "a" * 23, "con_" + "ä" * 22,
     "con_" + "a" * 20 + "_a", "con_" + "a" * 20 + "/.", "con_" + "a" * 21 + "\n", " con_" + "a" * 21],
)  # fmt: skip
def test_only_the_exact_shape_is_an_id(value: str) -> None:
    """What is not an id never becomes a part of a key in the store."""
    assert is_id("con", new_id("con"))
    assert not is_id("con", value)


def test_a_bearing_secret_leads_to_its_owner() -> None:
    """The owner's id can be read out of it, and nothing else of the owner."""
    owner = new_id("con")
    reference = bearing_secret("ref", owner)
    assert owner_of("ref", "con", reference) == owner
    assert reference != bearing_secret("ref", owner)


@given(st.text(max_size=120))
def test_no_text_that_is_none_is_taken_for_a_bearing_secret(text: str) -> None:
    """Arbitrary text leads nowhere and raises nothing."""
    assert owner_of("ref", "con", text) is None


@pytest.mark.parametrize(
    "mutate",
    [
        lambda r: r + "x",
        lambda r: r[:-1],
        lambda r: r.replace("ref_", "bat_"),
        lambda r: r.replace("_", "-"),
        lambda r: "ref_" + r.split("_")[2],
        lambda r: r.replace("_", "_é", 1),
        lambda r: r + "_" + "a" * 43,
    ],
)
def test_a_misshapen_bearing_secret_leads_nowhere(mutate: Callable[[str], str]) -> None:
    """A wrong prefix, length, alphabet or number of parts."""
    assert owner_of("ref", "con", mutate(bearing_secret("ref", new_id("con")))) is None


def test_a_digest_is_the_sha256_of_the_whole_secret() -> None:
    """What is stored does not contain any part of the secret."""  # S7
    secret = new_secret("bat")
    assert digest(secret) == hashlib.sha256(secret.encode()).hexdigest()


def test_buckets_are_stable_and_used_evenly() -> None:
    """The layout is a contract: an id keeps its bucket for ever, and all are in use."""
    assert bucket_of("con_0123456789ABCDEFGHIJKL") == 381
    used = Counter(bucket_of(new_id("con")) for _ in range(20_000))
    assert set(used) <= set(range(BUCKETS))
    assert len(used) > BUCKETS * 0.99


def test_a_forked_process_draws_ids_of_its_own() -> None:
    """What was drawn ahead is not given out twice."""
    new_id("evt")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_id("evt") for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        childs = told.read().split()
    assert len(childs) == 100
    assert set(childs).isdisjoint(new_id("evt") for _ in range(100))


def test_threads_draw_different_ids() -> None:
    """However they take turns."""
    with ThreadPoolExecutor(8) as threads:
        drawn = [
            made for part in threads.map(lambda _: [new_id("evt") for _ in range(2_000)], range(8)) for made in part
        ]
    assert len(set(drawn)) == 16_000
