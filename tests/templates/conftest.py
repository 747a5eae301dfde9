"""A service at a broker that knows the shipped entries, and each entry's provider as the practice provider plays it."""

from collections.abc import Callable

import httpx2
import pytest

from broker.providers import Registry
from tests.journey import MakeClient
from tests.templates.played import Played
from tests.templates.quirks import described, moved
from tests.world import ServiceClient


@pytest.fixture(scope="session")
def providers(sandbox_url: str) -> Registry:
    """The shipped entries, at the practice provider."""
    return moved(sandbox_url)


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A backend with every scope."""
    return await make_client("app")


@pytest.fixture
def play(sandbox: httpx2.Client, providers: Registry, app: ServiceClient) -> Callable[[str], Played]:
    """Has the practice provider appear as the provider of an entry, with nothing remembered."""
    return lambda name: Played(sandbox, app, providers.get(name), described(name))
