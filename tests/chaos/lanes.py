"""What runs beside what. A lane has a fleet of its own and goes its courses one after the other: mostly it waits."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import course
from tests.chaos.cases import KILLS, ROTATIONS, STANDSTILLS, Case, Course, Kill, Store
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.judge import Finding
from tests.chaos.load import ROTATION, Load


@dataclass
class Outcome:
    """All that was found."""

    cases: list[tuple[Case, Finding]] = field(default_factory=list)
    load: list[Finding] = field(default_factory=list)
    """Of the connections under load."""
    kills: int = 0
    """Of the store, under load."""
    told: int = 0
    """Rotations that callers were told of under load."""
    broken: list[Exception] = field(default_factory=list)
    """What ended a lane before its time: something that was waited for did not happen."""


async def everything(outcome: Outcome, *, rounds: int) -> None:
    """The whole matrix, so many times, a living token's cases once, and the load."""
    starting = asyncio.Lock()
    work = [
        _lane(outcome, starting, [Course(kill, store) for kill in KILLS] * rounds, replicated=store.replicated)
        for store in Store
    ]
    work.append(
        _lane(
            outcome,
            starting,
            [Course(Kill.STOPPED_THEN_KILLED, Store.FINE), *(Course(kill, Store.FINE, living=True) for kill in KILLS)],
        )
    )
    work.append(_lane(outcome, starting, [Course(kill, Store.FINE) for kill in STANDSTILLS]))
    work.append(_load(outcome, starting, kills=4))
    await _together(outcome, work)


async def short_form(outcome: Outcome, rotation: str) -> None:
    """Every kill at every step for one rotation, all at the same time, and the load with one kill."""
    starting = asyncio.Lock()
    courses = [Course(kill, Store.FINE) for kill in (*KILLS, *STANDSTILLS)]
    await _together(outcome, [_at_once(outcome, starting, courses, (rotation,)), _load(outcome, starting, kills=1)])


async def _together(outcome: Outcome, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of it; what breaks one lane off doesn't break off the others."""
    for broken in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(broken, Exception):
            outcome.broken.append(broken)
        elif broken is not None:
            raise broken


@asynccontextmanager
async def _started(
    starting: asyncio.Lock, rotations: Sequence[str], *, victims: int = 1, replicated: bool = False
) -> AsyncIterator[Fleet]:
    """A fleet. They start one after the other: all at once they would be late for each other's deadlines."""
    async with AsyncExitStack() as stack:
        async with starting:
            running = await stack.enter_async_context(fleet(rotations, victims=victims, replicated=replicated))
        yield running


async def _lane(
    outcome: Outcome, starting: asyncio.Lock, courses: Sequence[Course], *, replicated: bool = False
) -> None:
    async with _started(starting, ROTATIONS, replicated=replicated) as running:
        for each in courses:
            outcome.cases += await course.run(each, running, running.victims[0], ROTATIONS)


async def _at_once(
    outcome: Outcome, starting: asyncio.Lock, courses: Sequence[Course], rotations: tuple[str, ...]
) -> None:
    async with _started(starting, rotations, victims=len(courses)) as running:
        runs = [
            course.run(each, running, victim, rotations) for each, victim in zip(courses, running.victims, strict=True)
        ]
        for found in await asyncio.gather(*runs):
            outcome.cases += found


async def _load(outcome: Outcome, starting: asyncio.Lock, *, kills: int) -> None:
    async with _started(starting, (ROTATION,)) as running:
        load = Load(running)
        outcome.load = await load.run(kills=kills)
        outcome.kills, outcome.told = kills, load.told
