"""Loading a providers.yaml that a test writes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from broker.errors import ConfigurationError
from broker.providers import Registry, load_providers

Load = Callable[..., Registry]
Faults = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(text, {"VAR": "value"})``: the registry of a file with that text."""

    def loading(text: str, environ: Mapping[str, str] | None = None) -> Registry:
        path = tmp_path / "providers.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load_providers(path, environ or {})

    return loading


@pytest.fixture
def faults(load: Load, tmp_path: Path) -> Faults:
    """``faults(text, …)``: what is wrong with it, without the directory; fails where nothing is."""

    def failing(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load(text, environ)
        return [fault.removeprefix(f"{tmp_path}/") for fault in caught.value.faults]

    return failing
