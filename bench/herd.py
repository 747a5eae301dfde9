"""Three hundred fetches at once, on four workers, of a token that the provider is said to have refused."""

import asyncio
from typing import Any, Final

import httpx2

from bench.calls import authorization, connection_of_person
from bench.rounds import Effort
from bench.world import World, world

_WORKERS: Final = 4
_AT_ONCE: Final = 300


def measure(_effort: Effort) -> dict[str, Any]:
    """Answers how many were served, with how many different tokens, for how many refreshes at the provider."""
    with world(workers=_WORKERS) as running, httpx2.Client(base_url=running.broker_url, trust_env=False) as http:
        headers = authorization(running, http)
        connection_id = connection_of_person(http, headers)
        httpx2.post(f"{running.provider_url}/control", json={"token_delay_ms": 300}, trust_env=False)
        answers = asyncio.run(_fetch_at_once(running, f"/v1/connections/{connection_id}/token", headers))
        counters = httpx2.get(f"{running.provider_url}/counters", trust_env=False).json()
    tokens = {answer.json().get("access_token") for answer in answers}
    refreshes = counters["token"]["refresh_token"]
    return {
        "figures": {
            f"{_AT_ONCE} concurrent fetches of a refused token, {_WORKERS} workers": (
                f"{sum(answer.status_code == 200 for answer in answers)} good answers, {len(tokens)} token"
            ),
            "refreshes at the provider for them": f"{refreshes['ok']}, and {refreshes['error']} refused",
        },
        "reuse_detected": counters["reuse_detected"],
    }


async def _fetch_at_once(running: World, path: str, headers: dict[str, str]) -> list[httpx2.Response]:
    limits = httpx2.Limits(max_connections=_AT_ONCE)
    async with httpx2.AsyncClient(base_url=running.broker_url, trust_env=False, limits=limits, timeout=30) as http:
        body = {"stale_generation": 1}
        return await asyncio.gather(*(http.post(path, headers=headers, json=body) for _ in range(_AT_ONCE)))
