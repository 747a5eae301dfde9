"""Work that outlives who asked for it: joined by key, cancelled by nobody, waited for at the end."""

import asyncio

import pytest

from broker.connections.detached import Detached


class Work:
    """A piece of work that ends when it is told to."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        await self.may_end.wait()
        self.finished += 1
        return self.started


async def test_who_asks_for_what_runs_joins_it() -> None:
    """Ten callers, one run, one result; another key is another run; afterwards the key runs anew."""
    detached: Detached[int] = Detached()
    work, other = Work(), Work()
    callers = [asyncio.create_task(detached.join("key", work)) for _ in range(10)]
    another = asyncio.create_task(detached.join("other", other))
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*callers) == [1] * 10
    assert not another.done()
    assert await detached.join("key", work) == 2
    other.may_end.set()
    assert await another == 1


async def test_giving_up_the_wait_cancels_nothing() -> None:
    """Even when everybody has left."""  # F2
    detached: Detached[int] = Detached()
    work = Work()
    callers = [asyncio.create_task(detached.join("key", work)) for _ in range(3)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert (work.started, work.finished) == (1, 0)
    work.may_end.set()
    assert await detached.drain(60) == 0
    assert (work.started, work.finished) == (1, 1)


async def test_a_failure_is_everybodys_who_waits_and_is_not_remembered() -> None:
    """All joined callers hear it; the next one starts anew; a failure nobody hears of is no noise."""
    detached: Detached[int] = Detached()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise LookupError("gone")

    outcomes = await asyncio.gather(*(detached.join("key", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    with pytest.raises(LookupError):
        await detached.join("key", fail)
    unheard = asyncio.create_task(detached.join("key", fail))
    await asyncio.sleep(0)
    unheard.cancel()
    assert await detached.drain(60) == 0
    assert await detached.drain(60) == 0


async def test_draining_tells_what_it_leaves() -> None:
    """So many still run after the time; nothing is cancelled by that."""  # F3
    detached: Detached[int] = Detached()
    work, other = Work(), Work()
    callers = [asyncio.create_task(detached.join(key, run)) for key, run in (("key", work), ("other", other))]
    await asyncio.sleep(0)
    assert await detached.drain(0) == 2
    other.may_end.set()
    assert await detached.drain(0.05) == 1
    work.may_end.set()
    assert await detached.drain(60) == 0
    assert await asyncio.gather(*callers) == [1, 1]
