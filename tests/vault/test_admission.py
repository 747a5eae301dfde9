"""Admission: so many at once, slots that run out, pauses that are shared and grow, one request to see if it is over."""

import asyncio

import pytest
import redis

from broker.models.ids import new_id
from broker.vault import names
from broker.vault.admission import Admission, Full, Paused, Slot
from broker.vault.redis.store import Store

WHERE = "https://provider.example/token"


@pytest.fixture
def admission(pipeline: Store) -> Admission:
    """Admission by the test's store."""
    return Admission(pipeline)


async def enter(
    admission: Admission, where: str = WHERE, *, slots: int = 3, kept: int = 60_000
) -> Slot | Full | Paused:
    """Somebody asks for a slot."""
    return await admission.enter("practice", where, holder=new_id("turn"), slots=slots, milliseconds=kept)


async def admitted(admission: Admission, where: str = WHERE, *, slots: int = 3) -> Slot:
    """Somebody asks for a slot and gets one."""
    slot = await enter(admission, where, slots=slots)
    assert isinstance(slot, Slot)
    return slot


async def pass_pause(raw_store: redis.Redis, where: str = WHERE) -> None:
    """Let the pause be over, as time does."""
    key = names.gate_state("practice", where)
    assert raw_store.hget(key, "ends") is not None
    raw_store.hset(key, mapping={"since": 0, "ends": 0})


async def test_no_more_than_so_many_are_in_at_once(admission: Admission) -> None:
    """Twenty who ask at the same time: three are in, and one more for each that leaves."""
    answers = await asyncio.gather(*(enter(admission) for _ in range(20)))
    slots = [answer for answer in answers if isinstance(answer, Slot)]
    assert (len(slots), answers.count(Full())) == (3, 17)
    assert await admission.leave(slots[0], "well") == 0
    assert isinstance(await enter(admission), Slot)
    assert await enter(admission) == Full()


async def test_who_leaves_frees_its_own_slot(admission: Admission) -> None:
    """Also when nobody knows whether it got one; leaving twice frees nothing more."""
    slots = [await admitted(admission) for _ in range(3)]
    for _ in range(2):
        await admission.leave(slots[0], "")
    await admission.give_up("practice", WHERE, slots[1].holder)
    await admission.give_up("practice", WHERE, "turn_of_nobody")
    assert [type(await enter(admission)) for _ in range(3)] == [Slot, Slot, Full]


async def test_the_slot_of_a_crashed_holder_is_free_when_its_time_is_over(
    admission: Admission, raw_store: redis.Redis
) -> None:
    """And the whole gate vanishes when nothing happens there any more."""
    await admission.enter("practice", WHERE, holder="turn_crashed", slots=1, milliseconds=60_000)
    assert await enter(admission, slots=1) == Full()
    raw_store.zadd(names.gate("practice", WHERE), {"turn_crashed": 1})  # as its time does
    assert isinstance(await enter(admission, slots=1), Slot)
    assert 0 < raw_store.pttl(names.gate("practice", WHERE)) <= 60_000


async def test_endpoints_do_not_know_each_other(admission: Admission) -> None:
    """One address of an entry is full, another paused: a third is free, and another entry's first one, too."""
    assert isinstance(await enter(admission, "https://a.example", slots=1), Slot)
    assert await enter(admission, "https://a.example", slots=1) == Full()
    await admission.leave(await admitted(admission, "https://b.example"), "refused", pause=60_000)
    assert isinstance(await enter(admission, "https://b.example"), Paused)
    assert isinstance(await enter(admission, "https://c.example"), Slot)
    assert isinstance(
        await admission.enter("other", "https://b.example", holder="turn_1", slots=1, milliseconds=1000), Slot
    )


async def test_a_pause_lasts_as_long_as_it_was_asked_for(admission: Admission, raw_store: redis.Redis) -> None:
    """For everybody; after it one request at a time goes, until one ends well."""  # P8
    assert await admission.leave(await admitted(admission), "refused", pause=30_000) == 30_000
    answer = await enter(admission)
    assert isinstance(answer, Paused)
    assert 0 < answer.milliseconds <= 30_000
    await pass_pause(raw_store)
    probe = await admitted(admission)
    assert await enter(admission) == Full()
    await admission.leave(probe, "")
    probe = await admitted(admission)
    assert await enter(admission) == Full()
    await admission.leave(probe, "well")
    assert [type(await enter(admission)) for _ in range(4)] == [Slot, Slot, Slot, Full]
    assert raw_store.exists(names.gate_state("practice", WHERE)) == 0


async def test_five_failures_in_a_row_begin_a_pause_that_doubles(admission: Admission, raw_store: redis.Redis) -> None:
    """After it a single failure is enough; up to five minutes; one success and all is forgotten."""
    pauses = [await admission.leave(await admitted(admission), "failed") for _ in range(5)]
    assert pauses == [0, 0, 0, 0, 1000]
    for expected in (2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000):
        await pass_pause(raw_store)
        assert await admission.leave(await admitted(admission), "failed") == expected
    await pass_pause(raw_store)
    await admission.leave(await admitted(admission), "well")
    assert [await admission.leave(await admitted(admission), "failed") for _ in range(4)] == [0] * 4


async def test_a_trial_makes_no_pause_longer(admission: Admission, raw_store: redis.Redis) -> None:
    """An import that goes on asking a provider that is down must not be why refreshes wait for minutes afterwards."""
    assert [await admission.leave(await admitted(admission), "failed", trial=True) for _ in range(4)] == [0] * 4
    for _ in range(5):
        assert await admission.leave(await admitted(admission), "failed", trial=True) == 1000
        await pass_pause(raw_store)
    probe = await admitted(admission)
    assert await enter(admission) == Full()
    assert await admission.leave(probe, "failed") == 1000
    await pass_pause(raw_store)
    assert await admission.leave(await admitted(admission), "failed") == 2000
    await pass_pause(raw_store)
    assert await admission.leave(await admitted(admission), "failed", trial=True) == 1000
    await pass_pause(raw_store)
    assert await admission.leave(await admitted(admission), "failed") == 4000
    await pass_pause(raw_store)
    assert await admission.leave(await admitted(admission), "well", trial=True) == 0
    assert raw_store.exists(names.gate_state("practice", WHERE)) == 0


async def test_what_a_provider_asks_of_a_trial_holds_for_everybody(
    admission: Admission, raw_store: redis.Redis
) -> None:
    """As long as it says, and the next pause is no longer for it."""  # P8
    assert await admission.leave(await admitted(admission), "refused", pause=30_000, trial=True) == 30_000
    assert isinstance(await enter(admission), Paused)
    await pass_pause(raw_store)
    assert [await admission.leave(await admitted(admission), "failed") for _ in range(4)] == [0, 0, 0, 1000]


async def test_a_success_between_failures_starts_the_count_again(admission: Admission) -> None:
    """Five in a row, not five in all."""
    for how in ("failed", "failed", "failed", "failed", "well", "failed", "failed", "failed", "failed"):
        assert await admission.leave(await admitted(admission), how) == 0
    assert await admission.leave(await admitted(admission), "failed") == 1000


async def test_requests_that_were_under_way_do_not_add_to_a_pause(
    admission: Admission, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen that fail together make one pause of the shortest kind, and one that went well doesn't end it."""
    monkeypatch.setattr("broker.vault.admission._SHORTEST_PAUSE", 60_000)
    slots = [await admitted(admission, slots=16) for _ in range(16)]
    assert [await admission.leave(slot, "refused") for slot in slots[:15]] == [60_000] + [0] * 14
    await admission.leave(slots[15], "well")
    assert isinstance(await enter(admission), Paused)
    await pass_pause(raw_store)
    assert await admission.leave(await admitted(admission), "refused") == 120_000


async def test_a_request_that_was_under_way_can_ask_for_a_longer_pause(admission: Admission) -> None:
    """What the provider says now counts, the longest time that it named."""  # P8
    first, second, third = [await admitted(admission) for _ in range(3)]
    await admission.leave(first, "refused", pause=10_000)
    await admission.leave(second, "refused", pause=50_000)
    await admission.leave(third, "refused", pause=20_000)
    answer = await enter(admission)
    assert isinstance(answer, Paused)
    assert 40_000 < answer.milliseconds <= 50_000


async def test_what_is_remembered_of_an_endpoint_vanishes_by_itself(
    admission: Admission, raw_store: redis.Redis
) -> None:
    """A pause in time, and failures that nothing followed."""
    key = names.gate_state("practice", WHERE)
    await admission.leave(await admitted(admission), "failed")
    assert 0 < raw_store.pttl(key) <= 600_000
    await admission.leave(await admitted(admission), "refused", pause=3_600_000)
    assert 300_000 < raw_store.pttl(key) <= 900_000


def test_both_keys_of_a_gate_lie_in_one_slot() -> None:
    """One script works on both, on a Cluster too."""
    keys = names.gate("practice", WHERE), names.gate_state("practice", WHERE)
    assert len({key.partition("{")[2].partition("}")[0] for key in keys}) == 1
    assert len(set(keys)) == 2
