"""An app, a person, and a broker that is reached over https."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from tests.journey import MakeClient
from tests.world import FakeClock, Person, ServiceClient

SECURE_URL = "https://broker.example"


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """The app that wants its users' accounts connected."""
    return await make_client(completions=("browser",))


@pytest.fixture
def person(http: httpx2.AsyncClient) -> Person:
    """Its user, with a browser of their own."""
    return Person(http)


@pytest.fixture
async def secure_http(
    heart: Heart, settings: Settings, providers: Registry, clock: FakeClock
) -> AsyncIterator[httpx2.AsyncClient]:
    """The same broker as browsers see it behind https."""
    behind_tls = build_heart(settings.model_copy(update={"public_url": SECURE_URL}), providers, clock)
    transport = httpx2.ASGITransport(app_of(behind_tls))
    async with httpx2.AsyncClient(transport=transport, base_url=SECURE_URL) as client:
        yield client
    await behind_tls.aclose(work_ends_within=5)
