"""Work that outlives the request that started it: once begun, it is carried through, whoever gives up waiting."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Detached(Generic[Result]):
    """Tasks by key. Who asks for a key that is running joins it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Result]] = {}

    async def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of what runs under ``key``, started if nothing does. Giving up the wait cancels nothing."""
        return await asyncio.shield(self.start(key, start))

    def start(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, Result]]) -> "asyncio.Task[Result]":
        """The task that runs under ``key``, started if nothing does."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(start(), name=f"detached {key}")
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def runs(self, key: Hashable) -> bool:
        """Whether something runs under ``key``."""
        return key in self._running

    async def drain(self, seconds: float) -> int:
        """Wait for everything that runs; answers how many were still running after ``seconds``."""
        if not self._running:
            return 0
        _, pending = await asyncio.wait(set(self._running.values()), timeout=seconds)
        return len(pending)

    def _finished(self, key: Hashable, task: "asyncio.Task[Result]") -> None:
        del self._running[key]
        # Read the outcome, so that a failure nobody waited for any longer is not reported as forgotten.
        if not task.cancelled():
            task.exception()
