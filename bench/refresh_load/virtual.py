"""An event loop whose time stands still while there is work and jumps to the next timer when there is none.

What awaits and sleeps runs on it as on any other, only that an hour takes as long as what happens in it: the broker's
own background work can be watched for days. No sockets, no threads: nothing from outside ever wakes it.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Outcome = TypeVar("_Outcome")


class _Jumping(selectors.SelectSelector):
    """Waits for nothing; what it was to wait for at most has passed when it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody else: nothing will ever happen again")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at second 0."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since it began."""
        return self._jumping.now


def run_virtually(work: Coroutine[Any, Any, _Outcome]) -> _Outcome:
    """What ``work`` comes to on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
