"""A deadline for a whole exchange, which takes nothing from who has answered in time.

A process that stands still past a deadline (a machine that is moved, a container that is frozen) finds two things when
it goes on: the answer, which lies ready to be read, and that the time is over. An answer may hold a refresh token that
exists nowhere else, so there is a moment for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

MOMENT: Final = 1.0
"""Seconds to read what has arrived while the process stood still."""
_LATE: Final = 0.01
"""Seconds after which a timer is late. Only this process can make it so: whoever is asked gains no time by silence."""


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cancel the block after ``seconds``; where the process stood still then, ``MOMENT`` after it goes on, once.

    :raises TimeoutError: it was cancelled by that.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    async with asyncio.timeout(None) as deadline:

        def over() -> None:
            now = loop.time()
            # Cancelled in this round of the loop, the block would never see what was read from its socket in the same.
            deadline.reschedule(now + MOMENT if now - ends > _LATE else now)

        timer = loop.call_at(ends, over)
        try:
            yield
        finally:
            timer.cancel()
