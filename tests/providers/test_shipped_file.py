"""Where the shipped ``providers.yaml`` is: in a checkout, and where the package is installed."""

import sysconfig
import tomllib
from pathlib import Path

import pytest

from broker.providers import shipped

ROOT = Path(__file__).parents[2]


def test_a_checkout_has_it_at_the_top() -> None:
    """The one that people read and edit."""
    assert shipped.shipped_file() == ROOT / "providers.yaml"


def test_an_installed_package_has_it_among_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where ``pyproject.toml`` has it put, and the image is built with it."""
    monkeypatch.setattr(shipped, "_IN_A_CHECKOUT", tmp_path)
    place = shipped.shipped_file().relative_to(sysconfig.get_path("data"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["data-files"] == {str(place.parent): ["providers.yaml"]}
    assert "COPY pyproject.toml README.md providers.yaml ./" in (ROOT / "Dockerfile").read_text()
