"""When connections are used: some by machines around the clock, some by people in their day, some by nobody."""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
"""Milliseconds."""
_PEAK_HOUR: Final = 10
"""Of the day, at which most people begin."""
_SPREAD_HOURS: Final = 2.0
"""Standard deviation of when they begin."""
_HOURS_A_DAY: Final = 8


class Usage:
    """Stretches of time in which a connection is used again and again, in order and apart."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, stretches: Sequence[tuple[int, int]]) -> None:
        """:param stretches: from when to when (ms)."""
        self._begins = [begin for begin, _ in stretches]
        self._ends = [end for _, end in stretches]

    def last_before(self, moment: int) -> int | None:
        """When it was last used, as of ``moment`` (ms)."""
        index = bisect_right(self._begins, moment) - 1
        return None if index < 0 else min(moment, self._ends[index])

    def between(self, begin: int, end: int) -> bool:
        """Whether it is used at any time in between (ms)."""
        last = self.last_before(end)
        return last is not None and last >= begin

    def begins(self) -> Sequence[int]:
        """When it begins to be used, each time (ms)."""
        return self._begins


def around_the_clock(begin: int, end: int) -> Usage:
    """By a machine, without a pause."""
    return Usage([(begin, end)])


def never() -> Usage:
    """By nobody."""
    return Usage([])


def in_the_day(chance: random.Random, *, begin: int, days: int, share_of_days: float) -> Usage:
    """By a person, eight hours from when their day begins; not on every day.

    :param begin: midnight before the first day (ms).
    """
    stretches = []
    for day in range(days):
        if chance.random() < share_of_days:
            starts = begin + day * DAY + int(chance.gauss(_PEAK_HOUR, _SPREAD_HOURS) * HOUR)
            stretches.append((starts, starts + _HOURS_A_DAY * HOUR))
    apart: list[tuple[int, int]] = []
    for starts, ends in sorted(stretches):
        apart.append((max(starts, apart[-1][1] + 1 if apart else starts), ends))
    return Usage(apart)


def share_in_use(hour: float) -> float:
    """Of those who come on a day the share that is there at an hour of it: the curve that :func:`in_the_day` draws
    from."""

    def begun(at: float) -> float:
        return 0.5 * (1 + math.erf((at - _PEAK_HOUR) / (_SPREAD_HOURS * math.sqrt(2))))

    return begun(hour) - begun(hour - _HOURS_A_DAY)
