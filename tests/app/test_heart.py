"""The composed heart: it finds the embedded store wherever its folder is, and ends its work by one moment."""

import asyncio
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.redis.data_dir import ensure_keys
from broker.vault.redis.embedded import EmbeddedStore
from tests.waiting import LoopTime, eventually

AGES = 600.0
"""Seconds: nobody gets there but by :class:`LoopTime`."""


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


async def test_what_does_not_finish_in_time_is_told(heart: Heart, loop_time: LoopTime) -> None:
    """Refreshes and exchanges end by one moment, not one after the other; how many are given up is logged."""  # F3
    both: tuple[Any, ...] = (heart.refresher, heart.completions)
    for work in both:
        for key in range(2):
            waiting = asyncio.create_task(work._running.join(key, lambda: asyncio.sleep(2 * AGES)))
            await asyncio.sleep(0)
            waiting.cancel()
    with capture_logs() as logged:
        closing = asyncio.create_task(heart.aclose(work_ends_within=AGES))
        for _ in range(10):  # rounds of the event loop, in which all of it is begun
            await asyncio.sleep(0)
        loop_time.advance(seconds=AGES)
        await closing
    assert [(line["event"], line["log_level"]) for line in logged] == [("work.unfinished", "warning")]
    assert (logged[0]["refreshes"], logged[0]["exchanges"]) == (2, 2)


async def test_a_process_counts_as_living_until_its_work_is_over(
    heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its start until the last refresh has sealed what came of it: a rotation of the keys waits so long."""  # K4
    app, draining, released = app_of(heart), asyncio.Event(), asyncio.Event()
    lifespan = app.router.lifespan_context(app)
    await lifespan.__aenter__()
    await eventually(lambda: raw_store.hlen(names.REPLICAS) == 1)
    work: Any = heart.completions
    drain = work.drain

    async def told(seconds: float) -> int:
        draining.set()
        return int(await drain(seconds))

    monkeypatch.setattr(work, "drain", told)
    waiting = asyncio.create_task(work._running.join("cs_1", released.wait))
    await asyncio.sleep(0)
    ending = asyncio.create_task(lifespan.__aexit__(None, None, None))
    await draining.wait()
    await heart.store.execute("PING")  # whatever was said to the store before has been heard
    assert raw_store.hlen(names.REPLICAS) == 1
    released.set()
    await ending
    await waiting
    assert raw_store.hlen(names.REPLICAS) == 0
