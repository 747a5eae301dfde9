"""Those who ask the other broker while a refresh is cut off: what they are told has to be true at that moment."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.fleet import Connected, Fleet
from tests.chaos.service import Answer

_SATISFIED: float = 0.4
"""Seconds until somebody who was served, or turned away, asks again."""
_LONGER_THAN_EVER = 7200


@dataclass
class Callers:
    """One connection's callers, asking one after the other until they are told to stop."""

    fleet: Fleet
    connected: Connected
    living: bool
    answers: list[Answer] = field(default_factory=list)
    gambled: bool = False
    """Somebody was told that the connection is over, or got nothing, while its token lived."""
    _task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._ask_on())

    async def stop(self) -> None:
        """The one who asks right now gets an answer; nobody asks after that."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def settled(self) -> bool:
        """Whether somebody got a definite answer."""
        return any(answer.served or answer.over for answer in self.answers)

    async def _ask_on(self) -> None:
        # With a living token, some only want one, some want it to live longer, and one says that it was refused.
        bodies: list[dict[str, int]] = [{}]
        if self.living:
            bodies += [{"min_ttl": _LONGER_THAN_EVER}, {"stale_generation": 1}]
        asked = 0
        while True:
            body = bodies[asked % len(bodies)]
            asked += 1
            answer = await self.fleet.service.fetch(
                self.fleet.other.http, self.connected.id, self.connected.rotation, **body
            )
            self.answers.append(answer)
            if self.living and answer.at < self.connected.expires_at:
                self.gambled = self.gambled or answer.over or ("stale_generation" not in body and not answer.served)
            await asyncio.sleep(answer.pause if answer.later else _SATISFIED)
