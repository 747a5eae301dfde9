"""Time as an argument: nothing in the logic reads the system clock by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

LATEST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, since the epoch: RFC 3339 has no year after it (§5.6)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 100_000_000_000
"""As seconds it would be the year 5138: such a number counts milliseconds."""

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
    """``milliseconds`` since the epoch as an RFC 3339 UTC time, or ``None`` for ``None``.

    What lies before the epoch or after the year 9999 is shown as that end: one damaged time must not take a whole list
    down.
    """
    if milliseconds is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=min(max(milliseconds, 0), LATEST))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(value: str | float) -> int | None:
    """The milliseconds since the epoch of a time as others write it; ``None`` for what is none.

    Others write RFC 3339 (UTC where no offset stands), or a number of seconds or milliseconds since the epoch. A number
    may lie beyond :data:`LATEST`.
    """
    try:
        if not isinstance(value, str) or (value.isascii() and value.replace(".", "", 1).isdigit()):
            number = float(value)
            return int(number if number >= _MILLISECONDS_FROM else number * 1000)
        read = datetime.fromisoformat(value)
        return int(read.replace(tzinfo=read.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
