"""Awaiting what is mostly there already, under a deadline that costs nothing then.

``asyncio.timeout`` sets a timer before it knows whether anything has to be waited for; on a path that is taken
thousands of times a second that is a twentieth of it.
"""

import asyncio
from collections.abc import Awaitable, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Patience:
    """So many seconds, from the first moment that anything has to be waited for."""

    __slots__ = ("_seconds", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def until(self) -> float:
        """When they are over (the loop's time)."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._seconds
        return self._until


async def within(patience: Patience, work: Awaitable[Result]) -> Result:
    """What ``work`` gives; at once if it has to wait for nothing.

    :raises TimeoutError: it was not done in time, and was cancelled.
    """
    steps = work.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    async with asyncio.timeout_at(patience.until()):
        return await _go_on(steps, waits_for)


@coroutine
def _go_on(steps: Generator[Any, Any, Result], waits_for: object) -> Generator[Any, Any, Result]:
    """The rest of what was begun by hand, and waits for something."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:
            # Whatever is thrown in, a cancellation for one, is the work's to deal with.
            step = partial(steps.throw, error)
        else:
            step = partial(steps.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            result: Result = done.value
            return result
