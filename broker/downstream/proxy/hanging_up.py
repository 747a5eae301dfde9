"""A caller that hangs up: what was begun for it is given up at once, so that the provider is let go of, too."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

Result = TypeVar("Result")


class CallerGoneError(Exception):
    """Nobody waits for the answer any more."""


async def unless_gone(
    work: Coroutine[Any, Any, Result], receive: Receive, *, listen_from: asyncio.Event | None = None
) -> Result:
    """What ``work`` gives.

    :param receive: the caller's side; what still comes of its request is passed over.
    :param listen_from: set when nobody else reads there any more.
    :raises CallerGoneError: the caller hung up; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_hung_up(receive, listen_from))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerGoneError
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _hung_up(receive: Receive, listen_from: asyncio.Event | None) -> None:
    if listen_from is not None:
        await listen_from.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
