"""What is remembered while it is used: for how long, how much of it, and what a look does to it."""

import asyncio

import pytest

from broker.access.in_use import InUse
from broker.errors import StoreUnavailable
from tests.world import FakeClock


async def _same(_: str, value: str) -> str | None:
    return value


async def test_what_is_used_stays_and_what_is_not_goes(clock: FakeClock) -> None:
    """From one look to the next: an entry that nobody asked for in between is forgotten, however good it is."""
    memory: InUse[str, str] = InUse(clock)
    for key in ("used", "idle"):
        memory.put(key, "good", asked_at=clock())
    await memory.look_again(_same)
    assert memory.get("used") == "good"
    looked_at = []

    async def look(key: str, value: str) -> str | None:
        looked_at.append(key)
        return value

    await memory.look_again(look)
    assert (memory.get("used"), memory.get("idle")) == ("good", None)
    assert looked_at == ["used"]


async def test_it_is_believed_from_the_question_on_and_not_from_the_answer(clock: FakeClock) -> None:
    """An answer that took long is as old as its question: what was taken back in between gets no more time."""  # S13
    memory: InUse[str, str] = InUse(clock)
    asked_at = clock()
    clock.advance(seconds=4)
    memory.put("key", "good", asked_at=asked_at)

    async def slow(_: str, value: str) -> str | None:
        clock.advance(seconds=0.9)
        return value

    await memory.look_again(slow)
    clock.advance(seconds=4)
    assert memory.get("key") == "good"
    clock.advance(seconds=0.1)
    assert memory.get("key") is None


async def test_a_look_changes_and_ends_what_is_remembered(clock: FakeClock) -> None:
    """What the store says now counts."""
    memory: InUse[str, str] = InUse(clock)
    for key in ("changed", "gone"):
        memory.put(key, "old", asked_at=clock())

    async def look(key: str, _: str) -> str | None:
        return "new" if key == "changed" else None

    await memory.look_again(look)
    assert (memory.get("changed"), memory.get("gone")) == ("new", None)


@pytest.mark.parametrize("meanwhile", ["taken back", "looked up anew"])
async def test_a_look_does_not_undo_what_happened_meanwhile(clock: FakeClock, meanwhile: str) -> None:
    """Its answer is older than that."""  # S13
    memory: InUse[str, str] = InUse(clock)
    memory.put("key", "old", asked_at=clock())

    async def look(key: str, value: str) -> str | None:
        memory.forget(key)
        if meanwhile == "looked up anew":
            memory.put(key, "newest", asked_at=clock())
        return value

    await memory.look_again(look)
    assert memory.get("key") == (None if meanwhile == "taken back" else "newest")


async def test_no_more_is_remembered_than_there_is_room_for(clock: FakeClock) -> None:
    """What is in use keeps its place and can be renewed; what comes on top is looked up each time."""
    memory: InUse[int, str] = InUse(clock, at_most=2)
    for key in range(3):
        memory.put(key, "good", asked_at=clock())
    assert [memory.get(key) for key in range(3)] == ["good", "good", None]
    memory.put(1, "renewed", asked_at=clock())
    assert memory.get(1) == "renewed"
    memory.forget_all(lambda key: key == 0)
    memory.put(2, "good", asked_at=clock())
    assert [memory.get(key) for key in range(3)] == [None, "renewed", "good"]


async def test_a_store_that_is_gone_takes_nothing_away_and_gives_no_time(clock: FakeClock) -> None:
    """Neither does it hide another failure."""
    memory: InUse[str, str] = InUse(clock)
    memory.put("key", "good", asked_at=clock())

    async def unavailable(_: str, __: str) -> str | None:
        raise StoreUnavailable("the store can't be reached")

    async def broken(_: str, __: str) -> str | None:
        await asyncio.sleep(0)
        raise KeyError("a fault of ours")

    clock.advance(seconds=4.9)
    await memory.look_again(unavailable)
    assert memory.get("key") == "good"
    with pytest.raises(KeyError):
        await memory.look_again(broken)
    clock.advance(seconds=0.1)
    assert memory.get("key") is None


async def test_a_look_leaves_room_for_requests(clock: FakeClock) -> None:
    """With very many in use it asks about some at once, and still about each."""  # R2
    memory: InUse[int, str] = InUse(clock)
    for key in range(10_000):
        memory.put(key, "good", asked_at=clock())
    under_way, most, asked = 0, 0, set()

    async def look(key: int, value: str) -> str | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        asked.add(key)
        await asyncio.sleep(0)
        under_way -= 1
        return value

    await memory.look_again(look)
    assert len(asked) == 10_000
    assert most <= 500


async def test_a_store_that_is_gone_is_not_asked_on(clock: FakeClock) -> None:
    """Ten thousand in parts, each of which waits for its deadline, would be minutes."""  # R2
    memory: InUse[int, str] = InUse(clock)
    for key in range(10_000):
        memory.put(key, "good", asked_at=clock())
    asked = set()

    async def unavailable(key: int, _: str) -> str | None:
        asked.add(key)
        raise StoreUnavailable("the store can't be reached")

    await memory.look_again(unavailable)
    assert 0 < len(asked) <= 500
