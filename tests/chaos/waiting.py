"""Waiting for what happens in other processes: looked for often, and not for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

PATIENCE = 30.0
"""Seconds within which a process comes up."""


async def become(holds: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = PATIENCE) -> None:
    """Return when ``holds``.

    :raises TimeoutError: it doesn't; the error says what was waited for.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = holds()
                if await found if isawaitable(found) else found:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise TimeoutError(f"in vain: {what}") from None
