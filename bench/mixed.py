"""Fetches of which one in twenty needs a refresh, against fetches that need none, and the naive floor.

Those say that the provider refused the present token (``stale_generation``): so it is refreshed at the provider, with
rotation, and the new one is answered. Each pass over the thousand connections has it for other ones. The practice
provider is one Python process on the same cores, so its CPU is reported, too: what it takes, the broker lacks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench import wrk
from bench.fetching import fetches
from bench.rounds import Effort, alternate
from bench.stage import Stage, stage

_ONE_IN = 20
_REQUESTS = 40_000
"""More than one load takes."""
_PAGE = 200


def measure(effort: Effort) -> dict[str, Any]:
    """Answers one comparison, of 16 requests at once, and which share of the fetches was refreshed."""
    with stage(effort) as there:
        fresh, some = fetches(there, [there.headers]), _SomeRefused(there)
        refreshing = replace(there.side(f"1 in {_ONE_IN} refreshed", []), requests=some.requests)
        sides = [there.floor_side(), there.side("all fresh", fresh), refreshing]
        comparison = alternate("mixed", sides, there.store, effort.fewer(), at_once=16, workers=1)
        refreshes = some.refreshes()
    loads = [one[load] for one in comparison["sides"][-1]["rounds"] for load in ("before", "load")]
    share = (refreshes[-1] - refreshes[0]) / sum(load["requests"] for load in loads)
    return {"comparisons": [comparison], "figures": {"share of the fetches that was refreshed": f"{share:.1%}"}}


class _SomeRefused:
    """Makes the requests of a load out of what the generations are before it."""

    def __init__(self, there: Stage) -> None:
        self._there = there
        self._counted: list[int] = []

    def requests(self) -> Sequence[bytes]:
        """Passes over all connections; in each, one in twenty was refused, and in the next another one."""
        self.refreshes()
        generations = self._generations()
        base, headers = self._there.running.broker_url, self._there.headers
        asked = []
        for number in range(_REQUESTS // len(self._there.connection_ids)):
            for place, one in enumerate(self._there.connection_ids):
                refused = place % _ONE_IN == number % _ONE_IN
                body = f'{{"stale_generation":{generations[one]}}}' if refused else "{}"
                asked.append(wrk.request("POST", f"{base}/v1/connections/{one}/token", headers, body))
                generations[one] += refused
        return asked

    def refreshes(self) -> list[int]:
        """How many the provider had counted before each load, and has now."""
        counters = self._there.http.get(f"{self._there.running.provider_url}/counters").raise_for_status().json()
        self._counted.append(counters["token"]["refresh_token"]["ok"])
        return self._counted

    def _generations(self) -> dict[str, int]:
        found: dict[str, int] = {}
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            asked = {"limit": _PAGE, "cursor": page["next_cursor"]}
            answer = self._there.http.get("/v1/connections", headers=self._there.headers, params=asked)
            page = answer.raise_for_status().json()
            found |= {one["id"]: one["generation"] for one in page["items"]}
        return found
