"""What the proxy costs: memory while a gigabyte passes each way, and time and throughput of small requests.

Small requests are sent to the practice provider directly, and the same ones through the broker, by the same program,
over as many connections. The provider runs on the same machine and answers at once, so what is compared is the work of
one more program on the way: no network hides it.
"""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from bench.calls import connection_of_app
from bench.world import World, world

_SIZE = 2**30
_QUICK_SIZE = 2**27
_BLOCK = bytes(65_536)
_AT_ONCE = (1, 16, 64)
_REQUESTS = 2_000
_QUICK_REQUESTS = 300


def main(*, quick: bool) -> None:
    """Measure, and print one JSON document."""
    with world() as running, httpx2.Client(base_url=running.broker_url, trust_env=False) as http:
        client = running.register("proxying", "--scope", "proxy")
        granted = http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(client["client_id"], client["client_secret"]),
        )
        headers = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}
        connection_id = connection_of_app(http, headers)
        token = http.post(f"/v1/connections/{connection_id}/token", headers=headers, json={}).json()["access_token"]
        through = httpx2.URL(f"{running.broker_url}/proxy/{connection_id}/streams/")
        direct = httpx2.URL(f"{running.provider_url}/api/streams/")
        report = {
            "gigabyte": asyncio.run(_stream(running, through, headers, _QUICK_SIZE if quick else _SIZE)),
            "small": asyncio.run(
                _compare(direct, {"Authorization": f"Bearer {token}"}, through, headers, quick=quick),
            ),
        }
    print(json.dumps(report, indent=2))


async def _stream(running: World, through: httpx2.URL, headers: dict[str, str], size: int) -> dict[str, Any]:
    (worker,) = running.workers()
    async with httpx2.AsyncClient(base_url=through, headers=headers, trust_env=False, timeout=60) as http:
        before = _most_held(worker)
        began = time.perf_counter()
        received = 0
        async with http.stream("GET", f"bytes?size={size}") as answer:
            async for piece in answer.aiter_raw():
                received += len(piece)
        down = time.perf_counter() - began

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(size // len(_BLOCK)):
                yield _BLOCK

        began = time.perf_counter()
        uploaded = (await http.post("upload", content=pieces())).raise_for_status().json()
        up = time.perf_counter() - began
    return {
        "bytes_down": received,
        "bytes_up": uploaded["received"],
        "megabytes_per_second_down": round(received / down / 1e6),
        "megabytes_per_second_up": round(uploaded["received"] / up / 1e6),
        "worker_peak_megabytes_before": round(before / 1e6),
        "worker_peak_megabytes_after": round(_most_held(worker) / 1e6),
    }


async def _compare(
    direct: httpx2.URL, shown: dict[str, str], through: httpx2.URL, headers: dict[str, str], *, quick: bool
) -> list[dict[str, Any]]:
    count = _QUICK_REQUESTS if quick else _REQUESTS
    rows = []
    for at_once in _AT_ONCE:
        plain = await _small(direct, shown, at_once, count)
        proxied = await _small(through, headers, at_once, count)
        added = round(proxied["milliseconds_median"] - plain["milliseconds_median"], 2)
        rows.append({"at_once": at_once, "direct": plain, "proxied": proxied, "milliseconds_added": added})
    return rows


async def _small(base: httpx2.URL, headers: dict[str, str], at_once: int, count: int) -> dict[str, float]:
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    took: list[float] = []
    async with httpx2.AsyncClient(base_url=base, headers=headers, trust_env=False, limits=limits, timeout=60) as http:

        async def ask(times: int) -> None:
            for _ in range(times):
                began = time.perf_counter()
                (await http.get("bytes?size=100")).raise_for_status()
                took.append(time.perf_counter() - began)

        await asyncio.gather(*(ask(5) for _ in range(at_once)))
        took.clear()
        began = time.perf_counter()
        await asyncio.gather(*(ask(count // at_once) for _ in range(at_once)))
        seconds = time.perf_counter() - began
    return {
        "requests_per_second": round(len(took) / seconds),
        "milliseconds_median": round(statistics.median(took) * 1000, 2),
        "milliseconds_p99": round(statistics.quantiles(took, n=100)[98] * 1000, 2),
    }


def _most_held(pid: int) -> int:
    """Bytes of memory that a process ever had at once."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
