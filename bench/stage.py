"""What most comparisons stand on: a broker with connections and callers, and the floor beside it, on one store."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx2

from bench import calls, wrk
from bench.floor import Floor, floor
from bench.processes import StoreMeter
from bench.rounds import Effort, Side
from bench.world import World, world
from broker.vault.redis.data_dir import socket_path

_CONNECTIONS, _QUICK_CONNECTIONS = 1_000, 200
"""Asked for in turn, so that nothing is fast because it was asked for a moment ago."""


@dataclass(frozen=True)
class Stage:
    """What is there. It lasts a quarter of an hour: as long as broker tokens live."""

    running: World
    http: httpx2.Client
    """To the broker; it has its address."""
    headers: dict[str, str]
    """Of a caller with every scope."""
    connection_ids: list[str]
    store: StoreMeter
    floor: Floor
    workers: tuple[int, ...]

    def floor_side(self) -> Side:
        """The floor."""
        asked = [wrk.request("GET", self.floor.url, {})]
        return Side("floor", self.floor.url, self.floor.workers, lambda: asked)

    def side(self, name: str, requests: list[bytes]) -> Side:
        """The broker, asked that."""
        provider = {"provider": [self.running.provider_pid]}
        return Side(name, self.running.broker_url, self.workers, lambda: requests, beside=provider)


@contextmanager
def stage(effort: Effort, *, workers: int = 1, connections: int | None = None) -> Iterator[Stage]:
    """Set it up, and take it down again.

    :param connections: how many of the broker's, if not a thousand, or some hundreds in a quick run.
    """
    wanted = connections or (_QUICK_CONNECTIONS if effort.quick else _CONNECTIONS)
    with (
        world(workers=workers) as running,
        httpx2.Client(base_url=running.broker_url, trust_env=False, timeout=30) as http,
    ):
        headers = calls.authorization(running, http)
        ids = calls.connections(running, http, headers, wanted)
        socket = socket_path(running.data_dir)
        with closing(StoreMeter(socket)) as store, floor(store, socket, workers=workers) as bare:
            yield Stage(running, http, headers, ids, store, bare, tuple(running.workers()))
