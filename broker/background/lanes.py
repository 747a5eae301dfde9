"""One provider's share of refreshes or tests in the background: a few at once, a few in line, the others told when to
come again.

A provider that is slow or left alone fills its own lane, and however many lanes it has, it takes no more room than it
leaves to all others. Requests of people and services go first: they find a quarter of the provider's slots untouched.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from broker.providers import Provider
from broker.providers.schema import placeholders

_AT_MOST: Final = 64
"""Refreshes that one lane does at once, however many the provider bears."""
_SOONEST: Final = 1.0
_LATEST: Final = 600.0
"""Seconds after which what found no place comes again."""
_IN_A_ROW: Final = 3
"""So many that went unanswered mean that the provider is down: one or two may have a cause of their own."""
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 900.0
"""Seconds that a provider is left alone then, unless it names a time: twice as long each time."""
_GUESS: Final = 0.2
"""Seconds that a refresh takes, until some were seen."""
_LINE: Final = 3.0
"""Seconds of work that may stand in line: longer than until somebody looks for more, far shorter than a claim lasts."""
_UNKNOWN: Final = 2
"""Times its places may stand in line at a lane of which no refresh was seen: it may be a slow one."""
_REMEMBERED: Final = 10
"""Refreshes that the mean is about; fewer, as long as there were fewer."""


class _Room:
    """What the lanes of a process may hold together."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.held_by: Counter[str] = Counter()
        """In all lanes of a provider."""


class Lane:
    """The refreshes ahead at one token endpoint."""

    def __init__(self, provider: Provider, room: _Room) -> None:
        self._name = provider.name
        self._room = room
        self._at_once = max(1, min(provider.refresh.max_concurrent * 3 // 4, _AT_MOST))
        self._places = asyncio.Semaphore(self._at_once)
        self._held = 0
        self._mean = _GUESS
        self._seen = 0
        self._last_called = 0.0
        self._closed_until = 0.0
        self._unanswered = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is known of it that is worth remembering."""
        return not self._held and not self._unanswered and max(self._last_called, self._closed_until) <= _now()

    @property
    def full(self) -> bool:
        """Whether no more should be put in line: there is a pause, or there is enough to do until somebody looks again.

        What a lane is given depends on how fast it is. A slow one turns the rest away, and is no burden to others.
        """
        if self._closed_until > _now():
            return True
        line = math.ceil(_LINE / self._apart) if self._seen else _UNKNOWN * self._at_once
        return self._held >= self._at_once + line or self._room.held_by[self._name] >= self._room.left

    @property
    def expects(self) -> bool:
        """Whether some of those who were told to come again are due about now."""
        return self._closed_until <= _now() <= self._last_called

    @property
    def _apart(self) -> float:
        """Seconds from one that is done to the next, when all places are in use."""
        return self._mean / self._at_once

    def close(self, seconds: float) -> None:
        """Nothing goes for some time: the provider wants that, or is down."""
        self._closed_until = max(self._closed_until, _now() + seconds)

    def unanswered(self, wait: float | None) -> None:
        """One went without an answer. Several in a row, and nothing goes for some time.

        A single one may be at fault itself, by the address that is filled in for it: it must not keep all others from
        going.

        :param wait: seconds, where the provider has said for how long to leave it alone.
        """
        if wait is not None:
            self.close(wait)
        if self._closed_until > _now():
            # Was under way when the pause began.
            return
        self._unanswered += 1
        if self._unanswered >= _IN_A_ROW:
            self.close(min(_PAUSE * 2 ** min(self._unanswered - _IN_A_ROW, 10), _LONGEST_PAUSE))

    def answered(self) -> None:
        """One went with an answer, whatever it said."""
        self._unanswered = 0

    def call_again(self) -> float:
        """In how many seconds somebody who found no place should come again.

        Each is told a later time than the one before, at the speed at which the lane works, so that nobody comes often
        in vain and the place that becomes free finds somebody.
        """
        opens = max(_now() + _SOONEST, self._closed_until)
        latest = max(_now() + _LATEST, self._closed_until)
        self._last_called = max(self._last_called, opens) + self._apart
        if self._last_called > latest:
            self._last_called = latest
            return latest - _now() + random.random() * _LATEST  # noqa: S311 - spreads load, keeps no secret
        return self._last_called - _now()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """Wait in line, then hold a place; ``False``: the lane was closed meanwhile."""
        self._held += 1
        self._room.left -= 1
        self._room.held_by[self._name] += 1
        try:
            async with self._places:
                yield self._closed_until <= _now()
        finally:
            self._held -= 1
            self._room.left += 1
            self._room.held_by[self._name] -= 1

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around what the place is held for, however it ends: by that the lane knows how fast it is."""
        began = _now()
        try:
            yield
        finally:
            self._seen += 1
            self._mean += (_now() - began - self._mean) / min(self._seen, _REMEMBERED)


class Lanes:
    """All lanes of one chore in this process, made when they are needed."""

    def __init__(self, hold: int) -> None:
        """:param hold: how many may be in line or under way, in all of them together."""
        self._room = _Room(hold)
        self._lanes: dict[tuple[str, ...], Lane] = {}

    def of(self, provider: Provider, parameters: Mapping[str, str], *, address: str | None = None) -> Lane:
        """The lane of a connection with ``parameters``: each ``address`` of an entry has its own.

        :param address: what is asked, with its placeholders; ``None``: the token endpoint.
        """
        template = address or provider.token_endpoint or provider.issuer or ""
        key = (provider.name, *(parameters.get(name, "") for name in sorted(placeholders(template))))
        if key not in self._lanes:
            self._lanes[key] = Lane(provider, self._room)
        return self._lanes[key]

    def expect(self) -> bool:
        """Whether one of them expects somebody who was told to come again."""
        return any(lane.expects for lane in self._lanes.values())

    def forget_idle(self) -> None:
        """Forget the lanes that nothing is known of."""
        self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.idle}


def _now() -> float:
    return asyncio.get_running_loop().time()
