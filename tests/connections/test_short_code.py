"""Tests of :mod:`broker.connections.short_code`: what a person carries back, and how it may be spelled."""

import re

import pytest

from broker.connections.short_code import new_short_code, normalized_code, spelled


def test_a_code_is_eight_consonants() -> None:
    """No two are the same, and none can spell a word."""
    codes = {new_short_code() for _ in range(100)}
    assert len(codes) == 100
    assert all(re.fullmatch("[B-DF-HJ-NP-TV-XZ]{8}", code) for code in codes)


def test_a_code_is_shown_in_two_halves() -> None:
    """As it is easiest to read aloud and to type."""
    assert spelled("WDJBMJHT") == "WDJB-MJHT"


@pytest.mark.parametrize("typed", ["WDJB-MJHT", "wdjb mjht", "WdjbMjht", " WDJB - MJHT "])
def test_a_code_may_be_spelled_in_many_ways(typed: str) -> None:
    """Case, hyphen and spaces don't matter."""
    assert normalized_code(typed) == "WDJBMJHT"


@pytest.mark.parametrize("other", ["", "WDJB-MJH", "AEIO-UAEI", "a-long-Completion_code of an app"])
def test_what_is_no_short_code_stays_as_it_is(other: str) -> None:
    """The completion codes of apps are compared character by character."""
    assert normalized_code(other) == other
