"""Waiting for what happens elsewhere: looked for often, and so long that a machine with much to do fails no test.

Tests name what they wait for, and never how long it takes: neither this process nor one that it has started can count
on its turn. A wait in vain is one that takes a minute. Where a test is about a time limit of the code, the limit is far
away, and :class:`LoopTime` brings it about.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")
_PATIENCE = 60.0
_IN_VAIN = "what was waited for did not come about"


async def eventually(holds: Callable[[], object]) -> None:
    """Return when ``holds``, which this process' tasks, threads or other processes bring about.

    :raises TimeoutError: it doesn't; also where tasks that are busy would keep the test's own time limit off.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise TimeoutError(_IN_VAIN) from None


class LoopTime:
    """The clock of an event loop, for as long as that lives: it also goes forward when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._goes_by = loop.time
        self._ahead = 0.0
        loop.time = self._now  # type: ignore[method-assign]

    def advance(self, *, seconds: float) -> None:
        """Let time pass: what is due by then happens in the loop's next round."""
        self._ahead += seconds

    async def hurry(self, work: Awaitable[Result], *, seconds: float = 60) -> Result:
        """The result of ``work``, which runs into time limits: ``seconds`` pass over and over until it is there."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0.1)
            self.advance(seconds=seconds)
        return await task

    def _now(self) -> float:
        return self._goes_by() + self._ahead


def until(holds: Callable[[], object], *, every: float = 0.01) -> None:
    """Return when ``holds``, which threads or other processes bring about.

    :param every: seconds between two looks.
    :raises TimeoutError: it doesn't.
    """
    ends = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(_IN_VAIN)
        time.sleep(every)
