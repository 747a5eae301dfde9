"""The provider of the simulation: how long it takes to answer, when it is down, and how many requests it sees at once.

And what gives turns at it: ``vault.admission`` as it is in the store, in memory and with the same constants. A test
holds the two against each other.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from broker.errors import NotSent, OutcomeUnknown
from broker.vault import admission
from broker.vault.admission import Full, How, Paused, Slot

_SUSPECTS_WAIT: Final = 10_000
"""Milliseconds at most, that one that failed lately waits longer than others. As in ``lua/admit.lua``."""


class Gate:
    """Slots and pauses of one endpoint. Milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._held: dict[str, int] = {}
        self._forget()

    @property
    def paused(self) -> bool:
        """Whether nobody may ask now."""
        return self._clock() < self._ends

    def _forget(self) -> None:
        self._since = self._ends = self._remembered_until = 0
        self._failures = self._strikes = 0

    async def enter(
        self, provider: str, where: str, *, holder: str, slots: int, milliseconds: int, suspect: bool = False
    ) -> Slot | Full | Paused:
        """As :meth:`broker.vault.admission.Admission.enter`."""
        now = self._clock()
        if now >= self._remembered_until:
            self._forget()
        ends = self._ends
        if ends and suspect:
            ends += min(self._ends - self._since, _SUSPECTS_WAIT)
        if now < ends:
            return Paused(ends - now)
        if len(self._held) >= (1 if self._strikes else slots):
            return Full()
        self._held[holder] = now + milliseconds
        return Slot(provider, where, holder, since=now)

    async def leave(self, slot: Slot, how: How, *, pause: int | None = None, trial: bool = False) -> int:
        """As :meth:`broker.vault.admission.Admission.leave`."""
        now = self._clock()
        self._held.pop(slot.holder, None)
        if how == "":
            return 0
        if now >= self._remembered_until:
            self._forget()
        asked = None if pause is None else min(pause, admission._LONGEST_PAUSE)
        if self._since and slot.since <= self._since:
            if asked is not None and now + asked > self._ends:
                self._ends = now + asked
                self._remembered_until = self._ends + admission._REMEMBERED
            return 0
        if how == "well":
            self._forget()
            return 0
        self._failures += 1
        if how == "failed" and not self._strikes and self._failures < admission._FAILURES:
            self._remembered_until = now + admission._REMEMBERED
            return 0
        doubled = admission._SHORTEST_PAUSE * 2 ** (0 if trial else self._strikes)
        length = min(doubled, admission._LONGEST_PAUSE) if asked is None else asked
        self._strikes += 0 if trial else 1
        self._since, self._ends = now, now + length
        self._remembered_until = self._ends + admission._REMEMBERED
        return length

    async def give_up(self, provider: str, where: str, holder: str) -> None:
        """As :meth:`broker.vault.admission.Admission.give_up`."""
        self._held.pop(holder, None)


class TokenEndpoint:
    """Answers refreshes."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        answers_after: float,
        outages: Sequence[tuple[int, int]] = (),
        refuses_at_once: bool = False,
        timeout: float = 10.0,
    ) -> None:
        """
        :param answers_after: seconds.
        :param outages: from when to when (ms) it is down.
        :param refuses_at_once: whether a connection to it is refused while it is down; otherwise requests hang.
        :param timeout: seconds after which somebody who hangs gives up.
        """
        self._clock = clock
        self._answers_after = answers_after
        self._outages = outages
        self._refuses_at_once = refuses_at_once
        self._timeout = timeout
        self.at_once = 0
        self.most_at_once = 0
        self.answered: list[int] = []
        """When (ms)."""
        self.in_vain: list[int] = []

    async def refresh(self) -> None:
        """One request.

        :raises NotSent, OutcomeUnknown: it is down.
        """
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self._down():
                self.in_vain.append(self._clock())
                if self._refuses_at_once:
                    raise NotSent("the provider can't be reached")
                await asyncio.sleep(self._timeout)
                raise OutcomeUnknown("the provider did not answer")
            await asyncio.sleep(self._answers_after)
            self.answered.append(self._clock())
        finally:
            self.at_once -= 1

    def _down(self) -> bool:
        now = self._clock()
        return any(begin <= now < end for begin, end in self._outages)
