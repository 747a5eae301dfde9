"""Times as the API shows them, and as others write them."""

import pytest

from broker.clock import LATEST, moment_of, rfc3339


def test_a_time_is_shown_in_utc_to_the_millisecond() -> None:
    """As RFC 3339 has it; no time stays none."""
    assert rfc3339(1_763_000_000_123) == "2025-11-13T02:13:20.123Z"
    assert rfc3339(None) is None


@pytest.mark.parametrize(("beyond", "shown"), [(2**53, "9999-12-31T23:59:59.999Z"), (-1, "1970-01-01T00:00:00.000Z")])
def test_a_time_beyond_the_calendar_is_shown_as_its_end(beyond: int, shown: str) -> None:
    """A damaged one must not take down what shows it."""
    assert rfc3339(beyond) == shown


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("2026-01-02T03:04:05Z", 1_767_323_045_000),
        ("2026-01-02T04:04:05+01:00", 1_767_323_045_000),
        ("1767323045", 1_767_323_045_000),
        (1_767_323_045, 1_767_323_045_000),
        ("1767323045000", 1_767_323_045_000),
        (LATEST, LATEST),
        (LATEST + 1, LATEST + 1),
        ("1969-12-31T23:59:59Z", -1000),
        ("99999-01-01T00:00:00Z", None),
        (float("inf"), None),
        (float("nan"), None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time_is_read_however_others_write_it(written: str | float, found: int | None) -> None:
    """RFC 3339, seconds or milliseconds."""
    assert moment_of(written) == found
