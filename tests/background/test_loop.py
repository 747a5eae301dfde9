"""A chore goes on for as long as the process lives: past failures, and in one replica at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from io import StringIO

import pytest

from broker.app.heart import Heart
from broker.background import loop
from broker.background.loop import Chore, repeat
from broker.errors import StoreUnavailable
from broker.vault.leadership import Leadership
from tests.observe.capture import logged

__all__ = ["logged"]


class Step:
    """A step that does what it is told, one after the other, and then nothing more."""

    def __init__(self, *outcomes: int | Exception) -> None:
        self.calls = 0
        self.done = asyncio.Event()
        self._outcomes = list(outcomes)

    async def __call__(self) -> int:
        """The next outcome."""
        self.calls += 1
        if self.calls == len(self._outcomes):
            self.done.set()
        outcome = self._outcomes[min(self.calls, len(self._outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@asynccontextmanager
async def repeating(
    step: Callable[[], Awaitable[int]], leadership: Leadership, *, idle: float = 0
) -> AsyncIterator[None]:
    """The chore of this step, repeated while the block lasts."""
    task = asyncio.create_task(repeat(Chore("sample", step, rest_when_busy=0, rest_when_idle=idle), leadership))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_step_is_repeated(heart: Heart) -> None:
    """Busy or idle, it comes again."""
    step = Step(3, 0, 1, 0, 0)
    async with repeating(step, Leadership(heart.store)), asyncio.timeout(60):
        await step.done.wait()
    assert step.calls >= 5


async def test_a_step_that_fails_is_logged_and_tried_again(
    heart: Heart, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    """A store that is away is a delay, a mistake of ours a traceback; neither ends the chore."""
    monkeypatch.setattr(loop, "_AFTER_FAILURE", 0)
    step = Step(StoreUnavailable("the store is away"), ValueError("a mistake"), 1)
    async with repeating(step, Leadership(heart.store)), asyncio.timeout(60):
        await step.done.wait()
    assert '"chore.delayed"' in logged.getvalue()
    assert "the store is away" in logged.getvalue()
    assert "ValueError: a mistake" in logged.getvalue()


async def test_one_replica_does_a_chore_at_a_time(heart: Heart) -> None:
    """The other one does nothing until the first resigns, and then takes over."""
    first, second = Leadership(heart.store), Leadership(heart.store)
    assert await first.leads("sample")
    idle, busy = Step(1), Step(1, 1)
    async with repeating(idle, second), repeating(busy, first), asyncio.timeout(60):
        await busy.done.wait()
        assert idle.calls == 0
    await first.resign()
    async with repeating(idle, second), asyncio.timeout(60):
        await idle.done.wait()


async def test_chores_do_not_stand_in_each_others_way(heart: Heart) -> None:
    """Who leads in one leaves the others free."""
    first, second = Leadership(heart.store), Leadership(heart.store)
    assert await first.leads("one")
    assert await second.leads("two")
    assert not await second.leads("one")
    assert await first.leads("one")
