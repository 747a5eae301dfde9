"""What single pieces of background work cost: moving an event, refreshing, looking where something is due.

A replica's parts run in this process, on the store of a broker whose own background work is off, so that the CPU of
this process is that of the work and of nothing else. ``docs/scaling.md`` computes with these costs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx2
import redis

from bench import calls
from bench.processes import cpu_seconds
from bench.rounds import Effort
from bench.world import World, world
from broker.app.heart import Heart, build_heart
from broker.models.event import Event
from broker.providers import load_providers
from broker.settings import Settings
from broker.vault import names
from broker.vault.redis.data_dir import socket_path

_CONNECTIONS: Final = 200
_EVENTS, _QUICK_EVENTS = 50_000, 10_000
_REFRESHES, _QUICK_REFRESHES = 1_000, 200
_LOOKS, _QUICK_LOOKS = 100, 30
_AT_ONCE: Final = 16


def measure(effort: Effort) -> dict[str, Any]:
    """Answers microseconds of CPU of worker and store, and bytes."""
    report = asyncio.run(_measure(effort))
    figures = {
        f"{words}: CPU of the worker, of the store": f"{cost['worker']:,.0f} µs, {cost['store']:,.0f} µs"
        for words, cost in {
            "a refresh, at a provider that answers at once": report["refresh"],
            "moving an audit event from its outbox to the journal": report["event"],
            "looking at all buckets for what is due": report["look_at_due"],
            "looking at all outboxes, when all are empty": report["look_at_outboxes"],
        }.items()
    }
    return {"figures": {**figures, "an event in the journal": f"{report['event_bytes']} bytes"}, **report}


async def _measure(effort: Effort) -> dict[str, Any]:
    with (
        world(BROKER_BACKGROUND_ENABLED="false") as running,
        httpx2.Client(base_url=running.broker_url, trust_env=False, timeout=30) as http,
    ):
        ids = calls.connections(running, http, calls.authorization(running, http), _CONNECTIONS)
        heart = _heart(running)
        try:
            with closing(redis.Redis(unix_socket_path=str(socket_path(running.data_dir)))) as store:
                meter = _Meter(int(store.info("server")["process_id"]))
                await heart.bookkeeping.settle_all()
                looks = _QUICK_LOOKS if effort.quick else _LOOKS
                refreshes = _QUICK_REFRESHES if effort.quick else _REFRESHES
                return {
                    "look_at_due": await meter.each(looks, lambda: heart.due.waiting(now=heart.clock())),
                    "look_at_outboxes": await meter.each(looks, heart.bookkeeping.settle_all),
                    "refresh": await _refreshing(heart, ids, refreshes, meter),
                    **await _moving(heart, ids, _QUICK_EVENTS if effort.quick else _EVENTS, meter, store),
                }
        finally:
            await heart.aclose(work_ends_within=5)


class _Meter:
    """CPU of this process and of the store."""

    def __init__(self, store_pid: int) -> None:
        self._store_pid = store_pid

    async def of(self, work: Callable[[], Awaitable[object]], times: int) -> dict[str, float]:
        """Microseconds for each of so many pieces that ``work`` consists of."""
        worker, store = time.process_time(), cpu_seconds(self._store_pid)
        await work()
        spent = time.process_time() - worker, cpu_seconds(self._store_pid) - store
        return {"worker": round(spent[0] / times * 1e6, 1), "store": round(spent[1] / times * 1e6, 1)}

    async def each(self, times: int, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
        """The same of work that is done so often."""

        async def repeated() -> None:
            for _ in range(times):
                await work()

        return await self.of(repeated, times)


async def _refreshing(heart: Heart, ids: list[str], times: int, meter: _Meter) -> dict[str, float]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def refresh(connection_id: str, generation: int) -> None:
        async with turns:
            await heart.refresher.refresh(connection_id, generation)

    async def rounds() -> None:
        for generation in range(1, times // len(ids) + 1):
            await asyncio.gather(*(refresh(one, generation) for one in ids))

    await asyncio.gather(*(refresh(one, 1) for one in ids[:1]))  # what the first one makes ready
    return await meter.of(rounds, times // len(ids) * len(ids))


async def _moving(heart: Heart, ids: list[str], count: int, meter: _Meter, store: redis.Redis) -> dict[str, Any]:
    await heart.bookkeeping.settle_all()
    now, journal = heart.clock(), names.journal("default")
    before = store.zcard(journal)
    data = {"provider": "practice", "generation": 12}
    asked: dict[str, Any] = {"client_id": f"cl_{'0' * 22}", "request_id": f"req_{'0' * 22}", "data": data}
    events = (
        Event("token.released", "default", now + number, ids[number % len(ids)], **asked) for number in range(count)
    )
    while some := [event for _, event in zip(range(1_000), events, strict=False)]:
        await asyncio.gather(*(heart.journal.note(event) for event in some))
    cost = await meter.of(heart.bookkeeping.settle_all, count)
    kept = store.zcard(journal)
    if kept - before != count:
        raise RuntimeError(f"{kept - before} of {count} events arrived in the journal")
    return {"event": cost, "event_bytes": round((store.memory_usage(journal, samples=0) or 0) / kept)}


def _heart(running: World) -> Heart:
    """A replica's parts in this process, on the same store."""
    providers = Path(running.environment["BROKER_PROVIDERS_FILE"])
    settings = Settings(data_dir=running.data_dir, providers_file=providers)
    return build_heart(settings, load_providers(providers, {}))
