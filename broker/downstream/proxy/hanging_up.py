"""A caller that hangs up: what was begun for it is given up at once, so that the provider is let go of, too."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar, cast

from starlette.types import Receive

Result = TypeVar("Result")


class CallerGoneError(Exception):
    """Nobody waits for the answer any more."""


async def unless(work: Coroutine[Any, Any, Result], watch: Coroutine[Any, Any, NoReturn]) -> Result:
    """What ``work`` gives, while ``watch`` looks on beside it; once that raises, the work is cancelled.

    The work goes on in the task that asks for it, as it would under :func:`asyncio.timeout`: one that was made for it
    would cost a small request more than its answer does.

    :raises Exception: what ``watch`` raised.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelled_before = task.cancelling()
    watching = asyncio.ensure_future(watch)
    objection: BaseException | None = None
    done = False

    def object_to(watching: asyncio.Future[NoReturn]) -> None:
        nonlocal objection
        if not watching.cancelled() and (raised := watching.exception()) and not done:
            objection = raised
            task.cancel()

    watching.add_done_callback(object_to)
    try:
        return await work
    except asyncio.CancelledError:
        # Whoever else cancelled it is heard first.
        if objection is None or task.uncancel() > cancelled_before:
            raise
        raise objection from None
    finally:
        done = True
        watching.cancel()


async def hung_up(receive: Receive, *, listen_from: asyncio.Event | None = None) -> NoReturn:
    """Wait until the caller hangs up; what still comes of its request is passed over.

    :param receive: the caller's side.
    :param listen_from: set when nobody else reads there any more.
    :raises CallerGoneError: it did.
    """
    if listen_from is not None:
        await listen_from.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
    raise CallerGoneError
