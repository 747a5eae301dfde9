"""Sides that are measured in turn, several rounds, so that what the machine does meanwhile befalls them all.

A side is one way to be asked: the floor, the broker by one caller, the broker by two hundred. Each round loads each
side for some seconds and notes what the load saw and what the processes needed. The first round of each warms up and
is thrown away. What is reported are medians over the rounds, and as ratio the median of each round's own: the two
halves of a pair ran within seconds of each other.
"""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bench.processes import Commands, StoreMeter, resident, total_cpu
from bench.wrk import Load, drive

_WARM_UP_SECONDS: Final = 1
_LATENCIES: Final = ("p50", "p99", "p999")


@dataclass(frozen=True)
class Side:
    """One way to be asked."""

    name: str
    url: str
    workers: Sequence[int]
    """The processes that answer."""
    requests: Callable[[], Sequence[bytes]]
    """What is sent, in turn; asked for anew for each round."""
    beside: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Other processes whose CPU is of interest, by what they are."""


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int
    seconds: int
    quick: bool = False
    """Whether fewer cases are measured, too."""


FULL: Final = Effort(rounds=3, seconds=2)
QUICK: Final = Effort(rounds=2, seconds=1, quick=True)


@dataclass(frozen=True)
class Round:
    """What one load of one side saw and needed."""

    load: Load
    worker_cpu: tuple[float, ...]
    """Seconds of a core, of each worker."""
    store_cpu: float
    beside_cpu: dict[str, float]
    commands: Commands


def alternate(
    title: str, sides: Sequence[Side], store: StoreMeter, effort: Effort, *, connections: int, **labels: int
) -> dict[str, Any]:
    """Measure the sides in turn; the first is what the others are compared with.

    :param title: what it is, for who watches.
    :param labels: what else tells this comparison from others of its kind.
    :raises RoundFailed: an answer was no success.
    """
    rounds: dict[str, list[Round]] = {side.name: [] for side in sides}
    for side in sides:
        _load(side, store, connections, _WARM_UP_SECONDS)
    for _ in range(effort.rounds):
        for side in sides:
            rounds[side.name].append(_load(side, store, connections, effort.seconds))
    first = sides[0].name
    comparison = {
        "connections": connections,
        **labels,
        "sides": [
            {"name": side.name, **summary(rounds[side.name], rounds[first]), "worker_megabytes": _megabytes(side)}
            for side in sides
        ],
    }
    _tell(title, comparison)
    return comparison


def _load(side: Side, store: StoreMeter, connections: int, seconds: int) -> Round:
    requests = side.requests()
    calls, store_cpu = store.calls(), total_cpu([store.pid])
    workers = [total_cpu([pid]) for pid in side.workers]
    beside = {name: total_cpu(pids) for name, pids in side.beside.items()}
    load = drive(side.url, requests, connections=connections, seconds=seconds)
    return Round(
        load,
        tuple(total_cpu([pid]) - before for pid, before in zip(side.workers, workers, strict=True)),
        total_cpu([store.pid]) - store_cpu,
        {name: total_cpu(pids) - beside[name] for name, pids in side.beside.items()},
        Commands.between(calls, store.calls()),
    )


def summary(rounds: Sequence[Round], base: Sequence[Round]) -> dict[str, Any]:
    """Medians of the rounds of one side, their spread, and its ratio to the rounds of another.

    CPU is in microseconds per request, latency in milliseconds; ``cores`` is how many each part kept busy.
    """
    speeds = [one.load.requests_per_second for one in rounds]
    ratios = [mine / other.load.requests_per_second for mine, other in zip(speeds, base, strict=True)]
    others = {name: [one.beside_cpu[name] / one.load.seconds for one in rounds] for name in rounds[0].beside_cpu}
    return {
        "requests_per_second": round(statistics.median(speeds)),
        "requests_per_second_spread": [round(min(speeds)), round(max(speeds))],
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "milliseconds": {name: _median(getattr(one.load, name) for one in rounds) for name in _LATENCIES},
        "cpu_microseconds": {
            "workers": _median(sum(one.worker_cpu) / one.load.requests * 1e6 for one in rounds),
            "store": _median(one.store_cpu / one.load.requests * 1e6 for one in rounds),
        },
        "cores": {
            "workers": [
                _median(used / one.load.seconds for used, one in zip(of_one, rounds, strict=True))
                for of_one in zip(*(one.worker_cpu for one in rounds), strict=True)
            ],
            "store": _median(one.store_cpu / one.load.seconds for one in rounds),
            "wrk": _median(one.load.cpu_seconds / one.load.seconds for one in rounds),
            **{name: _median(used) for name, used in others.items()},
        },
        "store_calls": {
            "scripts": _median(one.commands.scripts / one.load.requests for one in rounds),
            "others": _median(one.commands.others / one.load.requests for one in rounds),
        },
        "rounds": [asdict(one) for one in rounds],
    }


def _median(figures: Iterable[float]) -> float:
    return round(statistics.median(figures), 2)


def _megabytes(side: Side) -> int:
    return round(statistics.median(map(resident, side.workers)) / 1e6)


def _tell(title: str, comparison: dict[str, Any]) -> None:
    for side in comparison["sides"]:
        latency = side["milliseconds"]
        print(
            f"{title:34} {side['name']:22} {side['requests_per_second']:>7,}/s  ×{side['ratio']:<5} "
            f"p50 {latency['p50']:<6} p99 {latency['p99']:<6} ms  CPU {side['cpu_microseconds']['workers']:.0f} µs, "
            f"store {side['cpu_microseconds']['store']:.0f} µs",
            file=sys.stderr,
        )
