"""The composed heart: it finds the embedded store wherever its folder is, and ends its work by one moment."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.app.heart import Heart, build_heart
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


async def test_what_does_not_finish_in_time_is_told(heart: Heart) -> None:
    """Refreshes and exchanges end by one moment, not one after the other; how many are given up is logged."""  # F3
    both: tuple[Any, ...] = (heart.refresher, heart.completions)
    for work in both:
        for key in range(2):
            waiting = asyncio.create_task(work._running.join(key, lambda: asyncio.sleep(60)))
            await asyncio.sleep(0)
            waiting.cancel()
    began = asyncio.get_running_loop().time()
    with capture_logs() as logged:
        await heart.aclose(work_ends_within=0.5)
    assert asyncio.get_running_loop().time() - began < 0.9
    assert [(line["event"], line["log_level"]) for line in logged] == [("work.unfinished", "warning")]
    assert (logged[0]["refreshes"], logged[0]["exchanges"]) == (2, 2)
