"""Requests that may come again, at rest: claimed once, sealed, and no obstacle to a change of keys."""

import pytest
import redis

from broker.errors import SealBroken
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.store import Store
from broker.vault.repeats import TAKEN_OVER_AFTER, Claim, StoredRepeats
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.rotating import KEY_1, Open, both, naming, new_ring, rotation_of, silent
from tests.vault.samples import NOW

CLAIM = Claim("acme", "ab" * 32, "what is asked", "drawn")
LATER = NOW + TAKEN_OVER_AFTER


@pytest.fixture
def repeats(pipeline: Store, keyring: Keyring) -> StoredRepeats:
    """The repeats under test."""
    return StoredRepeats(pipeline, keyring)


async def test_a_claim_is_somebodys_until_its_time_is_over(repeats: StoredRepeats) -> None:
    """Then the next one has it, with what was drawn first; who comes back from the dead settles nothing."""  # F1
    first = await repeats.claim(CLAIM, NOW)
    assert (first.state, first.drawn) == ("claimed", "drawn")
    again = Claim(CLAIM.tenant, CLAIM.request, CLAIM.fingerprint, "drawn later")
    assert (await repeats.claim(again, LATER - 1)).state == "running"
    second = await repeats.claim(again, LATER)
    assert (second.state, second.drawn) == ("claimed", "drawn")
    await repeats.answered(CLAIM, first.attempt, b"of the dead")
    await repeats.settle(CLAIM, first.attempt, "undone")
    assert (await repeats.claim(again, LATER)).state == "running"
    await repeats.answered(CLAIM, second.attempt, b"the answer")
    found = await repeats.claim(again, LATER * 2)
    assert (found.state, found.answer) == ("answered", b"the answer")


async def test_what_is_not_known_goes_on_with_what_was_drawn(repeats: StoredRepeats) -> None:
    """At once, and for the same request only; what was undone begins anew."""  # R3
    other = Claim(CLAIM.tenant, CLAIM.request, "something else", "drawn anew")
    found = await repeats.claim(CLAIM, NOW)
    await repeats.settle(CLAIM, found.attempt, "unknown")
    assert (await repeats.claim(other, NOW)).state == "other"
    found = await repeats.claim(CLAIM, NOW)
    assert (found.state, found.drawn) == ("claimed", "drawn")
    await repeats.settle(CLAIM, found.attempt, "undone")
    found = await repeats.claim(other, NOW)
    assert (found.state, found.drawn) == ("claimed", "drawn anew")


async def test_a_claim_whose_answer_was_lost_is_ours_all_the_same(
    proxy: FaultyProxy, keyring: Keyring, repeats: StoredRepeats
) -> None:
    """Else nobody would carry the request out until its time is over."""  # R3
    pipeline = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    assert await pipeline.execute("PING")
    proxy.drop_next_answer()
    found = await StoredRepeats(pipeline, keyring).claim(CLAIM, NOW)
    assert (found.state, found.drawn) == ("claimed", "drawn")
    assert (await repeats.claim(CLAIM, NOW)).state == "running"
    await pipeline.aclose()


async def test_an_answer_opens_for_its_request_only(repeats: StoredRepeats, raw_store: redis.Redis) -> None:
    """Moved to another one, or to another tenant, it does not open."""  # K2
    elsewhere = Claim(CLAIM.tenant, "cd" * 32, CLAIM.fingerprint, CLAIM.drawn)
    foreign = Claim("other", CLAIM.request, CLAIM.fingerprint, CLAIM.drawn)
    found = await repeats.claim(CLAIM, NOW)
    await repeats.answered(CLAIM, found.attempt, b"the answer")
    raw_store.copy(f"broker:rep_{CLAIM.request}", f"broker:rep_{elsewhere.request}")
    for claim in (elsewhere, foreign):
        with pytest.raises(SealBroken):
            await repeats.claim(claim, NOW)


async def test_answers_move_to_a_new_key(open_: Open, raw_store: redis.Redis) -> None:
    """A rotation takes claims and answers along: they open with the new ring alone."""  # K4
    ring = both()
    store = await open_(ring)
    old = Keyring([("k1", KEY_1)])
    kept = StoredRepeats(store, old)
    found = await kept.claim(CLAIM, NOW)
    await kept.answered(CLAIM, found.attempt, b"the answer")
    await rotation_of(store, ring).run("k2", silent)
    assert naming(raw_store, "k1") == []
    moved = StoredRepeats(await open_(new_ring()), new_ring())
    assert (await moved.claim(CLAIM, NOW)).answer == b"the answer"
