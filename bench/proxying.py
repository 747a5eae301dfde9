"""What the proxy costs: time and throughput of small requests, and memory while a gigabyte passes each way.

Small requests are sent to the practice provider directly, and the same ones through the broker, by the same program,
over as many connections. The provider runs on the same machine and answers at once, so what is compared is the work of
one more program on the way: no network hides it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2

from bench import wrk
from bench.processes import most_held
from bench.rounds import Effort, Side, alternate
from bench.stage import Stage, stage
from bench.world import World

_SIZE, _QUICK_SIZE = 2**30, 2**27
_BLOCK = bytes(65_536)
_CONNECTIONS: Final = 100
_SMALL: Final = "streams/bytes?size=100"


def measure(effort: Effort) -> dict[str, Any]:
    """Answers a comparison for each number of requests at once, and what the gigabyte took."""
    with stage(effort, connections=_CONNECTIONS) as there:
        client = there.running.register("proxying", "--scope", "proxy")
        proof = (client["client_id"], client["client_secret"])
        granted = there.http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=proof)
        headers = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}
        sides = [_direct(there), _through(there, headers)]
        comparisons = [
            alternate("proxy", sides, there.store, effort.brief(), at_once=many, workers=1)
            for many in ((16,) if effort.quick else (1, 16, 64))
        ]
        base = httpx2.URL(f"{there.running.broker_url}/proxy/{there.connection_ids[0]}/streams/")
        passed = asyncio.run(_stream(there.running, base, headers, _QUICK_SIZE if effort.quick else _SIZE))
    return {"comparisons": comparisons, "figures": _figures(passed), "gigabyte": passed}


def _direct(there: Stage) -> Side:
    path = f"/v1/connections/{there.connection_ids[0]}/token"
    token = there.http.post(path, headers=there.headers, json={}).raise_for_status().json()["access_token"]
    url = f"{there.running.provider_url}/api/{_SMALL}"
    asked = [wrk.request("GET", url, {"Authorization": f"Bearer {token}"})]
    return Side("directly", url, [there.running.provider_pid], lambda: asked)


def _through(there: Stage, headers: dict[str, str]) -> Side:
    url = there.running.broker_url
    asked = [wrk.request("GET", f"{url}/proxy/{one}/{_SMALL}", headers) for one in there.connection_ids]
    return there.side("through the broker", asked)


async def _stream(running: World, through: httpx2.URL, headers: dict[str, str], size: int) -> dict[str, Any]:
    (worker,) = running.workers()
    async with httpx2.AsyncClient(base_url=through, headers=headers, trust_env=False, timeout=60) as http:
        before = most_held(worker)
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
    if (received, uploaded["received"]) != (size, size):
        raise RuntimeError(f"of {size} bytes {received} came down and {uploaded['received']} went up")
    return {
        "bytes": size,
        "megabytes_per_second_down": round(received / down / 1e6),
        "megabytes_per_second_up": round(uploaded["received"] / up / 1e6),
        "worker_peak_megabytes_before": round(before / 1e6),
        "worker_peak_megabytes_after": round(most_held(worker) / 1e6),
    }


def _figures(passed: dict[str, Any]) -> dict[str, str]:
    size = f"{passed['bytes'] / 2**30:g} GiB through the proxy"
    down, up = passed["megabytes_per_second_down"], passed["megabytes_per_second_up"]
    before, after = passed["worker_peak_megabytes_before"], passed["worker_peak_megabytes_after"]
    return {
        f"{size}, to the caller and to the provider": f"{down} MB/s, {up} MB/s",
        "peak of the worker's memory before, and after it": f"{before} MB, {after} MB",
    }
