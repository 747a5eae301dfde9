"""Time as an argument: nothing in the logic reads the system clock by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]
"""Answers the current time in milliseconds since the Unix epoch."""


def system_clock() -> int:
    """The machine's wall clock, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def steady() -> float:
    """Seconds that only ever go forward, also while this process is stopped or the machine suspended."""
    # Where the system has no such clock, the monotonic one, which may stand still in a suspended machine.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def rfc3339(milliseconds: int | None) -> str | None:
    """``milliseconds`` since the epoch as an RFC 3339 UTC time, or ``None`` for ``None``."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
