"""The capacity model of ``docs/scaling.md``: formulas over measured unit costs, and the tables that they make there.

Everything is computed from ``bench/results.json``; the simulation of refreshes stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from broker.models.ids import BUCKETS
from broker.vault import names
from broker.vault.redis.cluster import slot_of

Results = Mapping[str, Mapping[str, Any]]

LIFETIME: Final = 3600
AHEAD: Final = 300
KEEPALIVE: Final = 2_592_000
"""Seconds: of an access token, and what ``refresh`` of a provider's entry has by default."""
_SLOTS: Final = 16_384
BUSY: Final = 0.6
"""Of a core: how busy a process is kept at most, so that a peak and the loss of a neighbour find room."""
LED: Final = 0.5
"""Of a core: what the leader in a chore has for it, for it serves requests, too."""
RETAINED: Final = 1_000_000
"""Events of a tenant that ``BROKER_EVENTS_RETENTION`` keeps by default."""
RECORDED: Final = "fetching", "mixed", "million", "units"
"""The scenarios whose figures are needed."""


@dataclass(frozen=True)
class Costs:
    """What was measured. Microseconds of a core, and bytes."""

    fetch_worker: float
    """With 64 requests at once, where commands travel together."""
    fetch_worker_alone: float
    """With one, where each command travels alone: what it comes to where commands are spread over many nodes."""
    fetch_store: float
    fetch_store_alone: float
    refresh_worker: float
    refresh_store: float
    event_worker: float
    event_store: float
    event_bytes: float
    look_worker: float
    """All looks of a leader that has nothing to do, a second."""
    connection_bytes: float

    @classmethod
    def of(cls, results: Results) -> "Costs":
        """Out of the results of the scenarios of :data:`RECORDED`.

        :raises KeyError: one was not measured.
        """
        busy, alone = (broker_side(results, at_once=number)["cpu_microseconds"] for number in (64, 1))
        units = results["units"]
        return cls(
            fetch_worker=busy["workers"],
            fetch_worker_alone=alone["workers"],
            fetch_store=busy["store"],
            fetch_store_alone=alone["store"],
            refresh_worker=units["refresh"]["worker"],
            refresh_store=units["refresh"]["store"],
            event_worker=units["event"]["worker"],
            event_store=units["event"]["store"],
            event_bytes=units["event_bytes"],
            # Every 2 s at the outboxes; every 5, 10 and 30 s at what is due.
            look_worker=units["look_at_outboxes"]["worker"] / 2
            + units["look_at_due"]["worker"] * (1 / 5 + 1 / 10 + 1 / 30),
            connection_bytes=results["million"]["bytes_per_connection"],
        )


def broker_side(results: Results, *, at_once: int, workers: int = 1) -> Mapping[str, Any]:
    """What was measured of the broker, one client, so many requests at once."""
    for comparison in results["fetching"]["comparisons"]:
        if (comparison["at_once"], comparison["workers"]) == (at_once, workers):
            side: Mapping[str, Any] = comparison["sides"][1]
            return side
    raise KeyError(f"fetching with {at_once} at once and {workers} workers")


def refreshed_every(lifetime: float, ahead: float = AHEAD) -> float:
    """Seconds between two refreshes of a connection in use: the token's life, without ``refresh.ahead`` (a quarter of
    it at most) and half of the eighth that due times are spread over."""
    return lifetime - min(ahead, lifetime / 4) - lifetime / 16


@dataclass(frozen=True)
class Fleet:
    """What is to be borne."""

    connections: int
    share_in_use: float
    fetches_per_second: float
    lifetime: float = LIFETIME
    tenants: int = 1

    @property
    def refreshes_per_second(self) -> float:
        """Of those in use, ahead; of the others, to keep them alive."""
        used = self.connections * self.share_in_use
        return used / refreshed_every(self.lifetime) + (self.connections - used) / (KEEPALIVE * 15 / 16)

    @property
    def events_per_second(self) -> float:
        """One of each."""
        return self.fetches_per_second + self.refreshes_per_second


@dataclass(frozen=True)
class Need:
    """What a fleet takes."""

    worker_cores: float
    workers: int
    store_cores: float
    stores: int
    memory: float
    """Bytes of data, without replicas."""
    led_events: float
    led_refreshes: float
    """Cores that the one leader of a chore would need."""


def need(fleet: Fleet, costs: Costs, *, node_memory: float = 8e9) -> Need:
    """What a fleet takes, on nodes of which each may hold so many bytes of data."""
    events, refreshes, fetches = fleet.events_per_second, fleet.refreshes_per_second, fleet.fetches_per_second
    # A fetch was measured until its event was moved, a refresh without that.
    refresh_worker = costs.refresh_worker + costs.event_worker
    refresh_store = costs.refresh_store + costs.event_store
    memory = fleet.connections * costs.connection_bytes + fleet.tenants * RETAINED * costs.event_bytes
    for many_nodes in (False, True):
        worker, store = (
            (costs.fetch_worker_alone, costs.fetch_store_alone)
            if many_nodes
            else (costs.fetch_worker, costs.fetch_store)
        )
        workers = (fetches * worker + refreshes * refresh_worker) / 1e6
        stores = (fetches * store + refreshes * refresh_store) / 1e6
        nodes = max(1, ceil(stores / BUSY), ceil(memory / node_memory))
        if nodes == 1:
            break
    return Need(
        worker_cores=workers,
        workers=max(1, ceil(workers / BUSY)),
        store_cores=stores,
        stores=nodes,
        memory=memory,
        led_events=events * costs.event_worker / 1e6,
        led_refreshes=refreshes * costs.refresh_worker / 1e6,
    )


def fullest(nodes: int) -> tuple[int, int]:
    """Buckets of the node that has most, and of the one that has fewest, where a Cluster's slots are dealt in even
    stretches, as ``--cluster create`` does."""
    held = [0] * nodes
    for bucket in range(BUCKETS):
        held[slot_of(names.bucket_due(bucket)) * nodes // _SLOTS] += 1
    return max(held), min(held)
