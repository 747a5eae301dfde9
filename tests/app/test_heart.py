"""The composed heart: it finds the embedded store wherever its folder is."""

import pytest

from broker.app.heart import build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.redis.data_dir import ensure_keys
from broker.vault.redis.embedded import EmbeddedStore


@pytest.mark.parametrize("name", ["50%25", "what?", "no#1", "a b", "ünï"])
async def test_a_folder_with_any_name_is_reached(settings: Settings, providers: Registry, name: str) -> None:
    """What means something in a URL is no hindrance, in the server's own address nor in the broker's."""
    data_dir = settings.data_dir.parent / name
    own = settings.model_copy(update={"redis_url": None, "encryption_keys": None, "data_dir": data_dir})
    ensure_keys(data_dir)
    store = EmbeddedStore(data_dir)
    store.start()
    heart = build_heart(own, providers)
    try:
        assert await heart.store.execute("CONFIG", "GET", "dir") == [b"dir", str(data_dir / "store").encode()]
    finally:
        await heart.aclose(work_ends_within=0)
        store.stop()
