"""Run the measurements and print them as JSON."""

import asyncio
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import httpx2
import redis

from bench import authentication, expiring, moving, proxying
from bench.calls import authorization, connection_of_app, connection_of_person
from bench.world import World, world
from broker.vault.redis.data_dir import socket_path

_STARTS = 5
_FETCHES = 200
_AT_ONCE = 300


def main() -> None:
    """Measure, and print one JSON document; with the name of a scenario that one alone."""
    for name, scenario in {
        "expiring": expiring.main,
        "authentication": authentication.main,
        "proxying": proxying.main,
        "moving": moving.main,
    }.items():
        if name in sys.argv[1:]:
            scenario(quick="quick" in sys.argv[1:])
            return
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}",
        "cold_start": _cold_start(3 if "quick" in sys.argv[1:] else _STARTS),
        "fetch": _fetch_cost(),
        "thundering_herd": _herd(),
    }
    print(json.dumps(report, indent=2))


def _cold_start(starts: int) -> dict[str, Any]:
    seconds, megabytes = [], []
    for _ in range(starts):
        with world() as running:
            seconds.append(running.seconds_to_ready)
            megabytes += [_resident(pid) for pid in running.workers()]
    return {
        "starts": starts,
        "seconds_to_ready_median": round(statistics.median(seconds), 2),
        "seconds_to_ready_worst": round(max(seconds), 2),
        "worker_megabytes_median": round(statistics.median(megabytes)),
    }


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def _fetch_cost() -> dict[str, Any]:
    """Commands at the store for fetches one after the other, without what background work adds."""
    with world() as running, httpx2.Client(base_url=running.broker_url, trust_env=False) as http:
        headers = authorization(running, http)
        path = f"/v1/connections/{connection_of_app(http, headers)}/token"
        http.post(path, headers=headers, json={})
        with redis.Redis(unix_socket_path=str(socket_path(running.data_dir))) as store:
            before = _calls(store)
            for _ in range(_FETCHES):
                http.post(path, headers=headers, json={}).raise_for_status()
            after = _calls(store)
        return {"fetches": _FETCHES, "scripts_per_fetch": round((after - before) / _FETCHES, 2)}


def _calls(store: redis.Redis) -> int:
    stats: Any = store.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


def _herd() -> dict[str, Any]:
    """Many fetches at once, on four workers, of a token that the provider is said to have refused."""
    with world(workers=4) as running, httpx2.Client(base_url=running.broker_url, trust_env=False) as http:
        headers = authorization(running, http)
        connection_id = connection_of_person(http, headers)
        httpx2.post(f"{running.provider_url}/control", json={"token_delay_ms": 300}, trust_env=False)
        answers = asyncio.run(_fetch_at_once(running, f"/v1/connections/{connection_id}/token", headers))
        counters = httpx2.get(f"{running.provider_url}/counters", trust_env=False).json()
        return {
            "workers": 4,
            "fetches": _AT_ONCE,
            "good_answers": sum(answer.status_code == 200 for answer in answers),
            "different_tokens": len({answer.json().get("access_token") for answer in answers}),
            "refreshes_at_the_provider": counters["token"]["refresh_token"],
            "reuse_detected": counters["reuse_detected"],
        }


async def _fetch_at_once(running: World, path: str, headers: dict[str, str]) -> list[httpx2.Response]:
    limits = httpx2.Limits(max_connections=_AT_ONCE)
    async with httpx2.AsyncClient(base_url=running.broker_url, trust_env=False, limits=limits, timeout=30) as http:
        body = {"stale_generation": 1}
        return await asyncio.gather(*(http.post(path, headers=headers, json=body) for _ in range(_AT_ONCE)))


if __name__ == "__main__":
    main()
