"""One provider's share of the refreshes ahead: a few at once, a few in line, and the rest told when to come again.

A provider that is slow or left alone fills its own lane; the others' are as free as before. Requests of people and
services go first: they find a quarter of the provider's slots untouched.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from broker.providers import Provider
from broker.providers.schema import placeholders

_AT_MOST: Final = 64
"""Refreshes that one lane does at once, however many the provider bears."""
_SOONEST: Final = 1.0
_LATEST: Final = 600.0
"""Seconds after which what found no place comes again."""
_GUESS: Final = 0.5
"""Seconds that a refresh takes, until some were seen."""
_WEIGHT: Final = 0.1
"""Of the latest refresh in the mean."""


class Lane:
    """The refreshes ahead at one token endpoint."""

    def __init__(self, provider: Provider) -> None:
        self._at_once = max(1, min(provider.refresh.max_concurrent * 3 // 4, _AT_MOST))
        self._places = asyncio.Semaphore(self._at_once)
        self._held = 0
        self._mean = _GUESS
        self._last_called = 0.0
        self._closed_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is known of it that is worth remembering."""
        return not self._held and max(self._last_called, self._closed_until) <= _now()

    @property
    def full(self) -> bool:
        """Whether no more should be put in line: there is a pause, or as many wait as are done at once."""
        return self._closed_until > _now() or self._held >= 2 * self._at_once

    def close(self, seconds: float) -> None:
        """Nothing goes for some time: the provider wants that, or is down."""
        self._closed_until = max(self._closed_until, _now() + seconds)

    def call_again(self) -> float:
        """In how many seconds somebody who found no place should come again.

        Each is told a later time than the one before, at the speed at which the lane works, so that nobody comes often
        in vain and the place that becomes free finds somebody.
        """
        opens = max(_now() + _SOONEST, self._closed_until)
        latest = max(_now() + _LATEST, self._closed_until)
        self._last_called = max(self._last_called, opens) + self._mean / self._at_once
        if self._last_called > latest:
            self._last_called = latest
            return latest - _now() + random.random() * _LATEST  # noqa: S311 - spreads load, keeps no secret
        return self._last_called - _now()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """Wait in line, then hold a place; ``False``: the lane was closed meanwhile."""
        self._held += 1
        try:
            async with self._places:
                if self._closed_until > _now():
                    yield False
                    return
                began = _now()
                yield True
                self._mean += _WEIGHT * (_now() - began - self._mean)
        finally:
            self._held -= 1


class Lanes:
    """All lanes of this process, made when they are needed."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, ...], Lane] = {}

    def of(self, provider: Provider, parameters: Mapping[str, str]) -> Lane:
        """The lane of a connection with ``parameters``: each token endpoint of an entry has its own."""
        template = provider.token_endpoint or provider.issuer or ""
        key = (provider.name, *(parameters.get(name, "") for name in sorted(placeholders(template))))
        if key not in self._lanes:
            self._lanes[key] = Lane(provider)
        return self._lanes[key]

    def forget_idle(self) -> None:
        """Forget the lanes that nothing is known of."""
        self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.idle}


def _now() -> float:
    return asyncio.get_running_loop().time()
