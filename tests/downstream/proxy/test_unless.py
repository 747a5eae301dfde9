"""Work that somebody looks on at: given up as soon as there is an objection, and never by mistake."""

import asyncio
from typing import NoReturn

import pytest

from broker.downstream.proxy.hanging_up import unless

SOON = 20.0
"""Seconds that a passing test doesn't reach."""


class NoMoreError(Exception):
    """The objection."""


async def object_when(moment: asyncio.Event) -> NoReturn:
    """Look on until then."""
    await moment.wait()
    raise NoMoreError


async def test_what_is_done_is_given() -> None:
    """Whether or not it had to wait; nobody looks on any more then."""
    never = asyncio.Event()

    async def at_once() -> int:
        return 1

    async def later() -> int:
        await asyncio.sleep(0)
        return 2

    assert await unless(at_once(), object_when(never)) == 1
    assert await unless(later(), object_when(never)) == 2
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_objection_ends_the_work() -> None:
    """The work may clean up, and the one who asked goes on: it was not he who was cancelled."""
    objection, cleaned = asyncio.Event(), False

    async def work() -> None:
        nonlocal cleaned
        objection.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    async with asyncio.timeout(SOON):
        with pytest.raises(NoMoreError):
            await unless(work(), object_when(objection))
        await asyncio.sleep(0)
    assert cleaned
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_an_objection_that_comes_too_late_is_none() -> None:
    """What is raised in the moment in which the work is done harms nobody."""
    loop = asyncio.get_running_loop()
    objection, answer = loop.create_future(), loop.create_future()

    async def work() -> int:
        loop.call_soon(objection.set_result, None)
        loop.call_soon(answer.set_result, 1)
        return int(await answer)

    async def watch() -> NoReturn:
        await objection
        raise NoMoreError

    assert await unless(work(), watch()) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_whoever_cancels_it_all_is_heard() -> None:
    """Also where there is an objection in the same moment: a server that ends waits for no answer."""
    objection, begun = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            objection.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    task = asyncio.create_task(unless(work(), object_when(objection)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_work_raises_is_raised() -> None:
    """As it is."""

    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await unless(work(), object_when(asyncio.Event()))
