"""How fast what is due is refreshed: as its provider's places allow, and no faster than requests beside it bear.

And how often is looked for that. On a clock that jumps: a second is a second on every machine.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from bench.refresh_load.people import DAY, around_the_clock
from bench.refresh_load.simulation import BEGINS, REST_WHEN_BUSY, REST_WHEN_IDLE, Plan, Seen, simulate
from bench.refresh_load.virtual import run_virtually
from broker.background.refreshing import RefreshAhead
from broker.clock import Clock
from broker.providers import Registry

_LIVES, _AHEAD = 3600, 300
"""Seconds: a token, and how long before its end it is due."""


def all_due(count: int, *, within: float, **how: Any) -> Plan:
    """So many connections in use that come due one minute after the beginning, within so many seconds."""
    usage = around_the_clock(BEGINS - DAY, BEGINS + DAY)
    issued = BEGINS - (_LIVES - _AHEAD - 60) * 1000
    members = [(usage, issued + int(number * within * 1000 / count)) for number in range(count)]
    return Plan(lambda _: members, hours=0.25, spread=False, lifetime=_LIVES, **how)


def by_second(seen: Seen) -> Counter[int]:
    """How many refreshes there were in each second."""
    return Counter(int(at) for at in seen.refreshed)


@pytest.mark.parametrize(
    ("count", "slots", "places", "answers_after"),
    [
        (1500, 16, 12, 0.2),
        (3000, 16, 12, 0.1),
        (1000, 16, 12, 1.0),
        (200, 16, 12, 5.0),
        (200, 1, 1, 0.1),
        (60, 1, 1, 2),
    ],
)
def test_a_backlog_keeps_every_place_in_use(count: int, slots: int, places: int, answers_after: float) -> None:
    """However fast the provider answers and however few it bears: it is over as soon as nine tenths of them could be
    done with it, and three looks."""  # F7
    seen = simulate(all_due(count, within=2, max_concurrent=slots, answers_after=answers_after))
    assert len(seen.refreshed) == count
    assert seen.most_at_once == places
    at_best = count * answers_after / places
    assert seen.refreshed[-1] - seen.refreshed[0] <= at_best / 0.9 + 15
    assert seen.late == []


def test_refreshes_begin_one_by_one() -> None:
    """A provider that bears many and answers at once doesn't get more than 200 a second: requests get between."""  # F7
    seen = simulate(all_due(3000, within=2, max_concurrent=128, answers_after=0.01))
    assert len(seen.refreshed) == 3000
    assert max(by_second(seen).values()) <= 201
    assert seen.refreshed[-1] - seen.refreshed[0] <= 3000 / 200 + 10


class _Looked:
    """In place of the due work: notes when it is looked at, and has nothing."""

    def __init__(self) -> None:
        self.at: list[float] = []

    async def waiting(self, *, now: int) -> dict[int, int]:
        """Nothing."""
        self.at.append(asyncio.get_running_loop().time())
        return {}


def looks(prepare: Callable[[RefreshAhead], None], *, seconds: float, providers: Registry, clock: Clock) -> list[float]:
    """When the chore looks at what is due, if it is done for so many seconds as processes do it."""
    due = _Looked()

    async def repeat() -> None:
        chore = RefreshAhead(cast("Any", due), cast("Any", None), cast("Any", None), providers, clock)
        prepare(chore)
        while asyncio.get_running_loop().time() < seconds:
            done = await chore.step()
            await asyncio.sleep(REST_WHEN_BUSY if done else REST_WHEN_IDLE)

    run_virtually(repeat())
    return due.at


def test_who_has_nothing_to_do_looks_every_five_seconds(providers: Registry, clock: Clock) -> None:
    """A look asks for every bucket: idleness costs the same however long it lasts."""
    assert looks(lambda _: None, seconds=60, providers=providers, clock=clock) == list(range(0, 60, 5))


def test_who_expects_somebody_back_looks_every_second(providers: Registry, clock: Clock) -> None:
    """Ten seconds' work was told to come again: until the last of it has come, and then seldom as before."""

    def turn_away(chore: RefreshAhead) -> None:
        lane = chore._lanes.of(providers.get("practice"), {})
        while lane.call_again() < 10:
            pass

    seen = looks(turn_away, seconds=30, providers=providers, clock=clock)
    assert seen == [*range(11), 15, 20, 25]


def test_while_the_provider_is_left_alone_nobody_looks_the_more(providers: Registry, clock: Clock) -> None:
    """They are expected back when the pause is over, not before."""

    def pause(chore: RefreshAhead) -> None:
        lane = chore._lanes.of(providers.get("practice"), {})
        lane.close(22)
        while lane.call_again() < 24:
            pass

    seen = looks(pause, seconds=40, providers=providers, clock=clock)
    assert seen == [0, 5, 10, 15, 20, 22, 23, 24, 29, 34, 39]
