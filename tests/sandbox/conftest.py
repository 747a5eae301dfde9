"""One practice provider per test module, as a real process; every test begins with its defaults."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.processes import sandbox_process
from tests.sandbox.app import App


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with sandbox_process() as url:
        yield url


@pytest.fixture(scope="module")
def http(base_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=base_url, follow_redirects=False, trust_env=False) as client:
        yield client


@pytest.fixture
def app(http: httpx2.Client) -> App:
    app = App(http)
    app.control(reset=True)
    return app
