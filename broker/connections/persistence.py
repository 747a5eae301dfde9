"""Writes that must not be given up lightly: what they hold exists nowhere else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from broker.errors import StoreUnavailable

Result = TypeVar("Result")

WITHIN_A_SECOND: Final = 5
"""Attempts, for what is worth a moment's trouble and no more."""

_PAUSES: Final = (0.05, 0.1, 0.25, 0.5, 1.0)

log = structlog.get_logger(__name__)


async def until_stored(write: Callable[[], Awaitable[Result]], *, what: str, attempts: int | None = None) -> Result:
    """Repeat ``write`` until the store confirms it. It must be one that a repeat doesn't harm.

    :param what: named in the log while it fails.
    :param attempts: how often to try; ``None`` = for as long as the process lives.
    :raises StoreUnavailable: the last attempt failed too.
    """
    done = 0
    while True:
        try:
            return await write()
        except StoreUnavailable as error:
            done += 1
            log.error("store.write_delayed", what=what, attempts=done, reason=error.detail)
            if done == attempts:
                raise
        await asyncio.sleep(_PAUSES[min(done, len(_PAUSES)) - 1])
