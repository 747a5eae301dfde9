"""Holds a broker at named steps, in the process of the broker: it and the run talk through files in one folder.

Each ticket ``STEP.N.wanted`` holds whoever reaches that step next, once: it is renamed to ``STEP.N.reached``, and who
came goes on when that file is gone. Without a ticket nobody is held. ``pid`` says which process it is.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

_LOOKS_EVERY: Final = 0.005
"""Seconds."""


def holding(folder: str) -> Callable[[str], Awaitable[None]]:
    """What :func:`broker.observe.steps.reached` awaits in a fault run that talks through ``folder``."""
    place = Path(folder)
    named = place / f"pid.{os.getpid()}"
    named.write_text(str(os.getpid()))
    named.replace(place / "pid")

    async def hold(step: str) -> None:
        reached = _claimed(place, step)
        while reached is not None and reached.exists():  # noqa: ASYNC110 - it is another process that lets go
            await asyncio.sleep(_LOOKS_EVERY)

    return hold


def _claimed(place: Path, step: str) -> Path | None:
    for ticket in sorted(place.glob(f"{step}.*.wanted")):
        reached = ticket.with_suffix(".reached")
        try:
            # Atomic: of two who come at the same moment one gets it.
            ticket.rename(reached)
        except FileNotFoundError:
            continue
        return reached
    return None


class Tickets:
    """The run's side of the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._written = 0

    def want(self, step: str) -> Path:
        """Have the next one who reaches ``step`` held; answers the file that is there once somebody is."""
        self._written += 1
        ticket = self.folder / f"{step}.{self._written}.wanted"
        ticket.touch()
        return ticket.with_suffix(".reached")

    def release(self) -> None:
        """Let everybody go, and hold nobody any more."""
        for pattern in ("*.wanted", "*.reached"):
            for ticket in self.folder.glob(pattern):
                ticket.unlink(missing_ok=True)

    @property
    def pid(self) -> int | None:
        """The process that reads the tickets; ``None`` before the first has come up."""
        try:
            return int((self.folder / "pid").read_text())
        except FileNotFoundError:
            return None
