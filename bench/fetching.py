"""Fetching fresh access tokens by connection id, against the naive floor: the hot path.

A thousand connections are asked for in turn, by one client, and by two hundred in turn, each with a broker token of its
own, 1, 16 and 64 at once with one worker; by one client, 16 and 64 at once with two. Each fetch writes its
audit event.
"""

from collections.abc import Iterable
from itertools import cycle
from typing import Any

from bench import calls, wrk
from bench.rounds import Effort, alternate
from bench.stage import Stage, stage

_CLIENTS = 200


def measure(effort: Effort) -> dict[str, Any]:
    """Answers one comparison for each number of workers and of requests at once."""
    comparisons = []
    for workers in (1,) if effort.quick else (1, 2):
        with stage(effort, workers=workers) as there:
            one = fetches(there, [there.headers])
            many = fetches(there, calls.authorizations(there.running, there.http, _CLIENTS))
            sides = [there.floor_side(), there.side("1 client", one), there.side(f"{_CLIENTS} clients", many)]
            if workers > 1:
                sides.pop()  # what tells clients apart is the same in each worker
            for at_once in (16, 64) if effort.quick or workers > 1 else (1, 16, 64):
                # Targets are about one worker, and about many requests at once: less time is spent on the others.
                spent = effort.brief() if at_once == 1 else effort.fewer() if workers > 1 else effort
                seen = alternate("fetch", sides, there.store, spent, at_once=at_once, workers=workers)
                comparisons.append(seen)
    return {"comparisons": comparisons, "figures": {**_memory(comparisons), **scaling(comparisons)}}


def fetches(there: Stage, clients: list[dict[str, str]], body: str = "{}") -> list[bytes]:
    """A fetch of each connection, by the clients in turn."""
    return [
        wrk.request("POST", f"{there.running.broker_url}/v1/connections/{one}/token", headers, body)
        for one, headers in zip(there.connection_ids, cycle(clients), strict=False)
    ]


def _memory(comparisons: list[dict[str, Any]]) -> dict[str, str]:
    most = max(side["worker_megabytes"] for comparison in comparisons for side in comparison["sides"][1:])
    return {"memory of a worker of the broker after these loads": f"{most} MB"}


def scaling(comparisons: list[dict[str, Any]]) -> dict[str, str]:
    """Two workers against one, side by side, with how many cores each part kept busy: that says what limits."""
    figures = {}
    by_case = {(each["workers"], each["at_once"]): each["sides"] for each in comparisons}
    for (workers, at_once), sides in by_case.items():
        if workers == 1 or at_once == 1:
            continue
        for one, two in zip(by_case[1, at_once], sides, strict=False):
            speeds, cores = two["requests_per_second"] / one["requests_per_second"], two["cores"]
            words = f"{workers} workers against one, {at_once} at once, {two['name']}"
            busy = f"workers {_sum(cores['workers'])}, store {cores['store']:.2f}, wrk {cores['wrk']:.2f}"
            figures[words] = f"{speeds:.2f}× ({busy} cores busy)"
    return figures


def _sum(cores: Iterable[float]) -> str:
    return " + ".join(f"{one:.2f}" for one in cores)
