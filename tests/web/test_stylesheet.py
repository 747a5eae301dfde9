"""Tests of the stylesheet: readable in the light and the dark scheme, and nothing fetched from elsewhere."""

import hashlib
import re
from importlib.resources import files

import pytest

from broker.web.pages import stylesheet_href

STYLESHEET = (files("broker.web") / "static" / "style.css").read_text()


def test_address_changes_with_the_content() -> None:
    """The stylesheet's address carries a hash of its bytes, so a cache is never stale."""
    version = hashlib.sha256(STYLESHEET.encode()).hexdigest()[:12]
    assert stylesheet_href == f"/static/style.css?v={version}"


def test_stylesheet_fetches_nothing() -> None:
    """It names no font, image or sheet to load."""
    # B10
    assert not re.search(r"url\(|@import|@font-face", STYLESHEET)


def test_stylesheet_heeds_what_people_ask_of_their_device() -> None:
    """Dark scheme, less motion and a visible focus are provided for."""
    for rule in ("prefers-color-scheme: dark", "prefers-reduced-motion: reduce", ":focus-visible"):
        assert rule in STYLESHEET


def _schemes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLESHEET, re.DOTALL)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("ink", "card", 4.5),
        ("ink", "tint", 4.5),
        ("ink", "edge", 4.5),
        ("muted", "card", 4.5),
        ("muted", "paper", 4.5),
        ("accent", "card", 4.5),
        ("accent", "tint", 4.5),
        ("on-accent", "accent", 4.5),
        ("on-accent", "accent-strong", 4.5),
        ("on-warning", "warning", 4.5),
        ("control-edge", "card", 3.0),
    ],
)
def test_colours_contrast_enough(front: str, back: str, least: float) -> None:
    """Text reaches WCAG 2.2 AA (1.4.3), edges of controls 3:1 (1.4.11), in the light and the dark scheme."""
    schemes = _schemes()
    assert len(schemes) == 2
    for scheme in schemes:
        dark, light = sorted((_luminance(scheme[front]), _luminance(scheme[back])))
        assert (light + 0.05) / (dark + 0.05) >= least
