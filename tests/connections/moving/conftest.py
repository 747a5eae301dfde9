"""A second broker: other keys, another store, the same providers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.redis.embedded import EmbeddedStore
from tests.world import PUBLIC_URL, FakeClock


@pytest.fixture(scope="session")
def other_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """Its server."""
    server = EmbeddedStore(tmp_path_factory.mktemp("other") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def other_heart(
    other_store_server: EmbeddedStore, providers: Registry, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Heart]:
    """Its parts, with nothing in its store."""
    with redis.Redis.from_url(other_store_server.url) as client:
        client.flushall()
    settings = Settings(
        public_url=PUBLIC_URL,
        redis_url=other_store_server.url,
        encryption_keys=(("other", bytes(range(100, 132))),),
        data_dir=tmp_path / "other",
        background_enabled=False,
    )
    heart = build_heart(settings, providers, clock)
    yield heart
    await heart.aclose(work_ends_within=2)
