"""A step that is repeated for as long as the process lives, by one replica at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from broker.errors import StoreUnavailable
from broker.vault.leadership import Leadership

log = structlog.get_logger(__name__)

_AFTER_FAILURE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Chore:
    """A step, and how long to rest after it."""

    name: str
    step: Callable[[], Awaitable[int]]
    """Does what is to be done now; answers how much that was."""
    rest_when_busy: float
    rest_when_idle: float
    """Seconds."""


async def repeat(chore: Chore, leadership: Leadership) -> None:
    """Do ``chore`` over and over while this replica leads in it. Ends only by being cancelled."""
    while True:
        try:
            done = await chore.step() if await leadership.leads(chore.name) else 0
            rest = chore.rest_when_busy if done else chore.rest_when_idle
        except StoreUnavailable as error:
            log.warning("chore.delayed", chore=chore.name, reason=error.detail)
            rest = _AFTER_FAILURE
        except Exception:
            # A chore that fails is seen in the log and tried again; it must not end the others.
            log.exception("chore.failed", chore=chore.name)
            rest = _AFTER_FAILURE
        await asyncio.sleep(rest)
