"""Tests of :mod:`broker.web.moments`: how long ago, in words, and the time that can be compared."""

import pytest

from broker.web.moments import moment

AT = 1_795_701_780_000  # 26 November 2026, 14:03 UTC


@pytest.mark.parametrize(
    ("seconds", "ago"),
    [
        (-5, "less than a minute ago"),
        (0, "less than a minute ago"),
        (59, "less than a minute ago"),
        (60, "1 minute ago"),
        (179, "2 minutes ago"),
        (3_599, "59 minutes ago"),
        (3_600, "1 hour ago"),
        (86_399, "23 hours ago"),
        (86_400, "1 day ago"),
        (40 * 86_400, "40 days ago"),
    ],
)
def test_how_long_ago(seconds: int, ago: str) -> None:
    """In the largest unit that fits, rounded down; what a clock has in the future is now."""
    assert moment(AT, AT + seconds * 1000).ago == ago


def test_the_time() -> None:
    """In UTC, for people with the month in words, and for programs."""
    seen = moment(AT + 999, AT)
    assert (seen.utc, seen.machine) == ("26 November 2026, 14:03 UTC", "2026-11-26T14:03:00Z")
