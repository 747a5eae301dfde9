"""Moments as people read them: how long ago, and the time that everybody can compare."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"))


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in the past, for a page."""

    ago: str
    """Such as ``2 minutes ago``."""
    utc: str
    """Such as ``26 November 2026, 14:03 UTC``."""
    machine: str
    """RFC 3339, for the ``datetime`` attribute."""


def moment(at: int, now: int) -> Moment:
    """The moment ``at`` as seen at ``now`` (ms since the epoch); by a clock that is behind it was just now."""
    passed = now - at
    ago = "less than a minute ago"
    for length, unit in _UNITS:
        if passed >= length:
            count = passed // length
            ago = f"{count} {unit}{'' if count == 1 else 's'} ago"
            break
    then = datetime.fromtimestamp(at // 1000, UTC)
    return Moment(ago, f"{then.day} {then:%B %Y, %H:%M} UTC", f"{then:%Y-%m-%dT%H:%M:%SZ}")
