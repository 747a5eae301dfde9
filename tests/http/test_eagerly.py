"""A deadline for what is mostly there already."""

import asyncio

import pytest

from broker.http.eagerly import Patience, within
from tests.waiting import LoopTime


async def _nothing() -> str:
    return "here"


async def _never(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("cleaned up")


async def test_what_is_there_is_given_at_once() -> None:
    """Without a round of the loop, and although the deadline is over."""
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "another")
    assert await within(Patience(0), _nothing()) == "here"
    assert ran == []


async def test_what_has_to_be_waited_for_is_waited_for() -> None:
    """Through as many rounds as it takes."""
    event = asyncio.Event()

    async def slow() -> str:
        await event.wait()
        await asyncio.sleep(0)
        return "there"

    waiting = asyncio.create_task(within(Patience(10), slow()))
    await asyncio.sleep(0)
    event.set()
    assert await waiting == "there"


async def test_beyond_the_deadline_it_is_cancelled() -> None:
    """And cleans up before the deadline is told."""
    ended: list[str] = []
    with pytest.raises(TimeoutError):
        await within(Patience(0.01), _never(ended))
    assert ended == ["cleaned up"]


async def test_patience_begins_with_the_first_wait_and_is_one_for_all(loop_time: LoopTime) -> None:
    """What is waited for afterwards has what is left of it."""
    patience = Patience(600)
    await within(patience, _nothing())
    loop_time.advance(seconds=1000)
    first = asyncio.get_running_loop().time()
    await within(patience, asyncio.sleep(0.05))
    loop_time.advance(seconds=600)
    with pytest.raises(TimeoutError):
        await within(patience, asyncio.sleep(600))
    assert first + 600 <= patience.until() == patience.until()


async def test_who_is_cancelled_takes_it_along() -> None:
    """A cancellation is no timeout."""
    ended: list[str] = []
    waiting = asyncio.create_task(within(Patience(10), _never(ended)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["cleaned up"]


@pytest.mark.parametrize("rounds", [0, 1])
async def test_what_it_raises_is_raised(rounds: int) -> None:
    """Whether it had to wait before or not."""

    async def fails() -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)
        raise KeyError("planted")

    with pytest.raises(KeyError):
        await within(Patience(10), fails())
