"""What tests of several rooms share: a real store, a practice provider, a composed broker, and its app over HTTP."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpcore2
import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.models.access import CLIENT_SCOPES
from broker.providers import Registry, load_providers
from broker.settings import Settings
from broker.vault.opening import open_store
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.pipeline import Pipeline
from tests.documented import Documented
from tests.interop import node
from tests.machine import Machine, MakeMachine
from tests.processes import sandbox_process
from tests.waiting import LoopTime
from tests.world import PUBLIC_URL, RETURN_URL, FakeClock, ServiceClient

_KEY = bytes(range(32))
_PROVIDERS = Path(__file__).parent / "providers.yaml"
_MACHINES_OWN = re.compile(
    r"BROKER_.*|[a-z]+_proxy|CLICOLOR|CLICOLOR_FORCE|COLUMNS|FORCE_COLOR|LINES|NO_COLOR|TTY_COMPATIBLE|TTY_INTERACTIVE",
    re.IGNORECASE,
)
"""Variables that must not decide what a test sees: of the developer's own broker, network and terminal."""


def _has_browser() -> bool:
    return any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))


def pytest_configure() -> None:
    """Give every test, and every program that a test starts, the same world, whoever started the tests and how."""
    # A shell's `&` and nohup have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Whom clients trust by default is read once, not for each of the thousands that tests make: it takes 20 ms.
    patch("httpcore2.default_ssl_context", cache(httpcore2.default_ssl_context)).start()
    # A machine with much to do must not end what waits for a store; the tests of that reach the deadline on purpose.
    for opens in (open_store, Pipeline.__init__):
        patch.dict(opens.__kwdefaults__, deadline=60.0).start()
    for name in filter(_MACHINES_OWN.fullmatch, list(os.environ)):
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test needs and isn't here: the test is skipped, except in CI, where that would hide a hole."""
    missing = {
        "browser": None if _has_browser() else "no Chromium on this machine",
        "node": node.missing(),
        "terminal": None if all(map(shutil.which, ("tmux", "git", "bash"))) else "no tmux, git or bash on this machine",
    }
    for item in () if os.environ.get("CI") else items:
        for keyword, reason in missing.items():
            if reason and keyword in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """The embedded Valkey server."""
    server = EmbeddedStore(tmp_path_factory.mktemp("store") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def raw_store(store_server: EmbeddedStore) -> Iterator[redis.Redis]:
    """The empty store through a client of its own, to look at what the broker keeps."""
    with redis.Redis.from_url(store_server.url) as client:
        client.flushall()
        client.script_flush()
        yield client


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """The practice provider, as a process of its own."""
    with sandbox_process() as url:
        yield url


@pytest.fixture
def sandbox(sandbox_url: str) -> Iterator[httpx2.Client]:
    """The practice provider with its behaviour and counters as at the start."""
    with httpx2.Client(base_url=sandbox_url, trust_env=False) as client:
        client.post("/control", json={"reset": True}).raise_for_status()
        yield client


@pytest.fixture(scope="session")
def app_key(sandbox_url: str) -> str:
    """A private key (PEM) of the app that the practice provider knows."""
    asked = httpx2.post(f"{sandbox_url}/control/keys", json={"kind": "github_app"}, trust_env=False)
    key: str = asked.raise_for_status().json()["private_key"]
    return key


@pytest.fixture(scope="session")
def providers(sandbox_url: str, app_key: str) -> Registry:
    """``tests/providers.yaml``, with the practice provider's address. It never changes, so it is read once."""
    return load_providers(_PROVIDERS, {"PRACTICE": sandbox_url, "PRACTICE_APP_KEY": app_key})


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at the present and moves when told."""
    return FakeClock()


@pytest.fixture
async def loop_time() -> LoopTime:
    """The clock of this test's event loop, to reach its timeouts without waiting for them."""
    return LoopTime(asyncio.get_running_loop())


@pytest.fixture
def settings(raw_store: redis.Redis, store_server: EmbeddedStore, tmp_path: Path) -> Settings:
    """Settings of a broker on the test store."""
    return Settings(
        public_url=PUBLIC_URL,
        redis_url=store_server.url,
        encryption_keys=(("k1", _KEY),),
        data_dir=tmp_path / "data",
        background_enabled=False,
    )


@pytest.fixture
async def heart(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A composed broker without its faces."""
    heart = build_heart(settings, providers, clock)
    yield heart
    await heart.aclose(work_ends_within=2)


@pytest.fixture
async def http(heart: Heart) -> AsyncIterator[httpx2.AsyncClient]:
    """The broker's faces, called in this process."""
    transport = httpx2.ASGITransport(Documented(app_of(heart)), client=("203.0.113.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client


@pytest.fixture
def make_machine(heart: Heart, http: httpx2.AsyncClient) -> MakeMachine:
    """Registers device clients, public ones unless said otherwise; answers a machine that can log in through one."""

    async def make(*, public: bool = True, scopes: tuple[str, ...] = CLIENT_SCOPES, **registered: Any) -> Machine:
        client, secret = await heart.clients.create("laptops", scopes=scopes, device=True, public=public, **registered)
        return Machine(http, client.client_id, secret)

    return make


@pytest.fixture
def make_client(heart: Heart, http: httpx2.AsyncClient) -> Callable[..., Awaitable[ServiceClient]]:
    """Registers clients; ``await (await make_client(name, scopes=…)).…`` calls the broker as one."""

    async def make(
        name: str = "app",
        *,
        scopes: tuple[str, ...] = CLIENT_SCOPES,
        tenant: str = "default",
        providers: tuple[str, ...] | None = None,
        return_urls: tuple[str, ...] = (RETURN_URL,),
        completions: tuple[str, ...] = (),
        allow: tuple[str, ...] | None = None,
    ) -> ServiceClient:
        client, secret = await heart.clients.create(
            name,
            scopes=scopes,
            tenant=tenant,
            providers=providers,
            return_urls=return_urls,
            completions=completions,
            allow=allow,
        )
        return ServiceClient(http, client.client_id, secret)

    return make
