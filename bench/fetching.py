"""Fetching fresh access tokens by connection id, against the naive floor: the hot path.

A thousand connections are asked for in turn, by one caller, and by two hundred in turn, each with a broker token of its
own. All of it over 1, 16 and 64 connections of HTTP, with one worker and with two. Each fetch writes its audit event.
"""

from itertools import cycle
from typing import Any

from bench import calls, wrk
from bench.rounds import Effort, alternate
from bench.stage import Stage, stage

_CALLERS = 200


def measure(effort: Effort) -> dict[str, Any]:
    """Answers one comparison for each number of workers and connections."""
    comparisons = []
    for workers in (1,) if effort.quick else (1, 2):
        with stage(effort, workers=workers) as there:
            one = fetches(there, [there.headers])
            many = fetches(there, calls.authorizations(there.running, there.http, _CALLERS))
            sides = [there.floor_side(), there.side("1 caller", one), there.side(f"{_CALLERS} callers", many)]
            for connections in (16, 64) if effort.quick else (1, 16, 64):
                seen = alternate("fetch", sides, there.store, effort, connections=connections, workers=workers)
                comparisons.append(seen)
    return {"comparisons": comparisons}


def fetches(there: Stage, callers: list[dict[str, str]], body: str = "{}") -> list[bytes]:
    """A fetch of each connection, by the callers in turn."""
    return [
        wrk.request("POST", f"{there.running.broker_url}/v1/connections/{one}/token", headers, body)
        for one, headers in zip(there.connection_ids, cycle(callers), strict=False)
    ]
