"""An app, a person, and a broker that is reached over https."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from tests.journey import MakeClient
from tests.web.site import App, served_app
from tests.web.windows import Opens, chromium_process, windows
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

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


@pytest.fixture
async def replica(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[httpx2.AsyncClient]:
    """Another process of the same broker, on the same store."""
    another = build_heart(settings, providers, clock)
    transport = httpx2.ASGITransport(app_of(another), client=("203.0.113.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client
    await another.aclose(work_ends_within=5)


@pytest.fixture(scope="module")
def app_of_the_module(sandbox_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A broker that serves, as a process, and an app that is registered there."""
    with served_app(sandbox_url, tmp_path_factory.mktemp("broker")) as app:
        yield app


@pytest.fixture
def clicked_app(app_of_the_module: App, sandbox: httpx2.Client) -> App:
    """The app, with nobody come back yet and the provider as at the start."""
    app_of_the_module.returned.clear()
    app_of_the_module.pages.clear()
    return app_of_the_module


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser program."""
    with chromium_process() as browser:
        yield browser


@pytest.fixture
def window(chromium: Browser, tmp_path: Path) -> Iterator[Opens]:
    """Opens windows, each a browser of its own; none may have complained about anything in the end."""
    with windows(chromium, tmp_path) as opens:
        yield opens
