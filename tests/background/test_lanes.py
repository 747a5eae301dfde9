"""Lanes: a few at once, a few in line, and for the rest a time to come again."""

import asyncio
from contextlib import suppress

import pytest

from bench.refresh_load.virtual import run_virtually
from broker.background.lanes import Lane, Lanes
from broker.providers import Provider
from broker.providers.schema import Parameter
from broker.providers.sections import Refresh


def a_provider(max_concurrent: int = 16, *, token_endpoint: str = "https://provider.example/token") -> Provider:
    """A provider that bears so many requests at once."""
    return Provider(
        name="practice",
        display_name="Practice",
        authorization_endpoint="https://provider.example/authorize",
        token_endpoint=token_endpoint,
        parameters={name: Parameter(label=name) for name in ("region", "team")},
        refresh=Refresh(max_concurrent=max_concurrent),
    )


def a_lane(max_concurrent: int = 16) -> Lane:
    """Its lane, alone in a process that bears many."""
    return Lanes(10_000).of(a_provider(max_concurrent), {})


async def seen(lane: Lane, *, takes: float) -> None:
    """So many that the lane knows how long one takes."""
    for _ in range(10):
        async with lane.place():
            with lane.timed():
                await asyncio.sleep(takes)


async def fill(lane: Lane) -> tuple[list[asyncio.Task[bool]], asyncio.Event, list[int]]:
    """Put in line until it is full; answers those in line, what lets them go, and how many had a place at once."""
    go, inside, most = asyncio.Event(), [0], [0]

    async def one() -> bool:
        async with lane.place() as may:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            await go.wait()
            inside[0] -= 1
            return may

    tasks = []
    while not lane.full:
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
    return tasks, go, most


@pytest.mark.parametrize(("bears", "at_once"), [(1, 1), (2, 1), (4, 3), (16, 12), (128, 64)])
async def test_a_quarter_of_what_a_provider_bears_is_left_to_those_who_wait(bears: int, at_once: int) -> None:
    """At least one goes; while nobody knows how slow it is, twice as many wait in line; then it is full."""
    lane = a_lane(bears)
    tasks, go, most = await fill(lane)
    assert (len(tasks), most) == (3 * at_once, [at_once])
    assert not lane.idle
    go.set()
    assert await asyncio.gather(*tasks) == [True] * 3 * at_once
    assert most == [at_once]
    assert not lane.full
    assert lane.idle


async def test_who_waits_in_line_when_it_is_closed_is_sent_away() -> None:
    """Whoever has a place keeps it; nobody else comes in while it is closed."""
    lane = a_lane(2)
    tasks, go, _ = await fill(lane)
    lane.close(60)
    go.set()
    assert await asyncio.gather(*tasks) == [True] + [False] * 2
    assert lane.full
    assert not lane.idle


async def test_each_is_told_a_later_time_than_the_one_before() -> None:
    """At the pace of the lane: 0.2 s each, twelve at once. Not before a second, nor before it opens again."""
    lane = a_lane()
    times = [lane.call_again() for _ in range(600)]
    assert times == sorted(times)
    assert times[0] >= 1
    assert 9 < times[-1] < 11.5
    lane.close(30)
    assert 30 <= lane.call_again() < 31


async def test_a_queue_of_hours_is_not_told_hours() -> None:
    """Between ten and twenty minutes, spread: the lane may have become faster by then."""
    lane = a_lane(1)
    times = [lane.call_again() for _ in range(5000)]
    assert max(times) <= 1200
    assert len({round(seconds) for seconds in times[2000:]}) > 300


async def test_lanes_are_told_apart_by_what_decides_the_address() -> None:
    """A parameter that stands in the token endpoint; not one that is only for the API."""
    lanes, provider = Lanes(100), a_provider(token_endpoint="https://{region}.example/token")
    north = lanes.of(provider, {"region": "north", "team": "red"})
    assert lanes.of(provider, {"region": "north", "team": "blue"}) is north
    assert lanes.of(provider, {"region": "south", "team": "red"}) is not north
    north.close(60)
    lanes.forget_idle()
    assert lanes.of(provider, {"region": "north"}) is north


async def test_the_lane_is_closed_when_several_in_a_row_went_unanswered() -> None:
    """One or two may have a cause of their own; whatever is under way when the pause begins doesn't prolong it."""
    lane = a_lane()
    for _ in range(2):
        lane.unanswered(None)
        lane.unanswered(None)
        assert not lane.full
        assert not lane.idle
        lane.answered()
    assert lane.idle
    for _ in range(12):
        lane.unanswered(None)
    assert lane.full
    assert 59 < lane.call_again() < 62


async def test_a_provider_that_names_a_time_is_left_alone_at_once() -> None:
    """The first who hears it closes the lane."""
    lane = a_lane()
    lane.unanswered(300)
    assert lane.full
    assert 299 < lane.call_again() < 301


async def test_an_address_that_is_not_the_token_endpoint_has_lanes_of_its_own() -> None:
    """One of its placeholders tells them apart."""
    lanes, provider = Lanes(100), a_provider()
    north = lanes.of(provider, {"region": "north"}, address="https://{region}.example/whoami")
    assert lanes.of(provider, {"region": "south"}, address="https://{region}.example/whoami") is not north
    assert lanes.of(provider, {"region": "north"}) is not north


@pytest.mark.parametrize(("takes", "in_line"), [(0.05, 12 * 60), (0.5, 12 * 6), (6, 6), (60, 1)])
def test_the_faster_a_lane_is_the_more_stand_in_line(takes: float, in_line: int) -> None:
    """Three seconds' work: there is always some until the next look, and who waits doesn't wait for long."""

    async def held() -> int:
        lane = a_lane()
        await seen(lane, takes=takes)
        tasks, go, _ = await fill(lane)
        go.set()
        await asyncio.gather(*tasks)
        return len(tasks)

    assert run_virtually(held()) - 12 == pytest.approx(in_line, abs=1)


async def test_a_provider_takes_no_more_room_than_it_leaves_to_others() -> None:
    """One of many addresses, all of them slow; another that bears many; and some is left for a third."""  # F7
    lanes, many = Lanes(100), a_provider(16, token_endpoint="https://{region}.example/token")
    filled = [await fill(lanes.of(many, {"region": str(number)})) for number in range(8)]
    filled += [await fill(lanes.of(a_provider(128).model_copy(update={"name": name}), {})) for name in ("b", "c")]
    assert [len(tasks) for tasks, _, _ in filled] == [36, 14, 0, 0, 0, 0, 0, 0, 25, 13]
    for tasks, go, _ in filled:
        go.set()
        await asyncio.gather(*tasks)
    assert not lanes.of(many, {"region": "7"}).full


def test_who_only_passes_by_says_nothing_of_how_fast_a_lane_is() -> None:
    """A claim that ran out in line leaves at once: many of them don't make a slow lane look like a fast one."""  # F7

    async def held() -> int:
        lane = a_lane()
        await seen(lane, takes=20)
        for _ in range(100):
            async with lane.place():
                pass
        tasks, go, _ = await fill(lane)
        go.set()
        await asyncio.gather(*tasks)
        return len(tasks)

    assert run_virtually(held()) == 12 + 2


def test_a_refresh_that_fails_says_how_slow_the_lane_is() -> None:
    """One that hangs until its deadline is the slowest of all."""

    async def held() -> int:
        lane = a_lane()
        for _ in range(10):
            with suppress(TimeoutError):
                async with lane.place(), asyncio.timeout(20):
                    with lane.timed():
                        await asyncio.Event().wait()
        tasks, go, _ = await fill(lane)
        go.set()
        await asyncio.gather(*tasks)
        return len(tasks)

    assert run_virtually(held()) == 12 + 2
