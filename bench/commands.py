"""What the store is asked for one request: watched with MONITOR, request by request.

Requests come one after the other, each between two marks, so background work (which comes now and then) falls between
some of them only: the median over a hundred is what a request itself asks. What a script calls is told apart.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import httpx2
import redis

from bench.redeeming import redemptions
from bench.rounds import Effort
from bench.stage import stage
from broker.vault.redis.data_dir import socket_path

_REQUESTS: Final = 100


def measure(effort: Effort) -> dict[str, Any]:
    """Answers commands and calls within scripts, by what is asked of the broker."""
    with stage(effort, connections=1) as there:
        path = f"/v1/connections/{there.connection_ids[0]}"
        request = {"method": "GET", "url": f"{there.running.provider_url}/api/messages"}
        client, (form,) = redemptions(there)
        asked: dict[str, Callable[[], httpx2.Response]] = {
            "fetch by connection id": lambda: there.http.post(f"{path}/token", headers=there.headers, json={}),
            "redemption of a reference": lambda: there.http.post("/oauth/token", data=form, auth=client),
            "authorization of a request": lambda: there.http.post(
                f"{path}/authorization", headers=there.headers, json=request
            ),
        }
        with redis.Redis(unix_socket_path=str(socket_path(there.running.data_dir))) as store:
            seen = {name: _watch(store, ask) for name, ask in asked.items()}
    figures = {
        f"asked of the store for one {name}": f"{outer} command{'s'[: outer != 1]} ({inner} calls within scripts)"
        for name, (outer, inner) in seen.items()
    }
    return {"figures": figures, "commands": {name: outer for name, (outer, _) in seen.items()}}


def _watch(store: redis.Redis, ask: Callable[[], httpx2.Response]) -> tuple[int, int]:
    """Medians of the commands that one request brings, and of the calls within scripts."""
    outer, inner = [], []
    marks = (f"mark {number}" for number in count())
    with _monitor(store) as commands:
        for _ in range(_REQUESTS):
            store.echo(begin := next(marks))
            ask().raise_for_status()
            store.echo(end := next(marks))
            by_script = _between(commands, f"ECHO {begin}", f"ECHO {end}")
            inner.append(sum(by_script))
            outer.append(len(by_script) - inner[-1])
    return round(statistics.median(outer)), round(statistics.median(inner))


@contextmanager
def _monitor(store: redis.Redis) -> Iterator[Iterator[dict[str, Any]]]:
    """What the store is asked from now on, by whomever."""
    monitor: Any = store.monitor()  # type: ignore[no-untyped-call]
    with monitor as watching:
        yield watching.listen()


def _between(commands: Iterator[dict[str, Any]], begin: str, end: str) -> list[bool]:
    """Of each command between two, whether a script called it."""
    while next(commands)["command"] != begin:
        pass
    seen = []
    while (command := next(commands))["command"] != end:
        seen.append(command["client_type"] == "lua")
    return seen
