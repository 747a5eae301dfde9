"""Sides that are measured in turn, several rounds, so that what the machine does meanwhile befalls them all.

A side is one way to be asked: the floor, the broker by one caller, the broker by two hundred. In each round each side
is loaded for a second that does not count and then, without a pause, for those that do. So the broker is measured as
busy as under a load that lasts: with what the requests before have left to do (events are moved to where they are
read). After that is waited until it is quiet, for what is left to do must not slow the next side down; and it belongs
to the CPU and the commands that those requests took.

What is reported are medians over the rounds, and as ratio the median of each round's own: the two halves of a pair ran
within seconds of each other.
"""

import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from bench.processes import Commands, StoreMeter, resident, total_cpu
from bench.wrk import Load, drive

_LEAD_SECONDS: Final = 1
_LOOK_SECONDS: Final = 0.2
_QUIET: Final = 0.1
"""Of a core: what is less is quiet."""
_LONGEST_WAIT: Final = 5
_LATENCIES: Final = ("p50", "p99", "p999")


@dataclass(frozen=True)
class Side:
    """One way to be asked."""

    name: str
    url: str
    workers: Sequence[int]
    """The processes that answer."""
    requests: Callable[[], Sequence[bytes]]
    """What is sent, in turn; asked for anew for each load."""
    beside: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Other processes whose CPU is of interest, by what they are."""


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int
    seconds: int
    quick: bool = False
    """Whether fewer cases are measured, too."""

    def fewer(self) -> "Effort":
        """Two rounds, for cases that no target is about."""
        return replace(self, rounds=min(self.rounds, 2))

    def brief(self) -> "Effort":
        """Two short rounds."""
        return replace(self.fewer(), seconds=1)


FULL: Final = Effort(rounds=3, seconds=2)
QUICK: Final = Effort(rounds=2, seconds=1, quick=True)


@dataclass(frozen=True)
class Round:
    """What one load of one side saw and needed."""

    before: Load
    """The one that doesn't count."""
    load: Load
    worker_cpu: tuple[float, ...]
    """Seconds of a core during the load that counts, of each worker."""
    store_cpu: float
    beside_cpu: dict[str, float]
    all_worker_cpu: float
    """Seconds of a core during both loads and after them, until all was quiet."""
    all_store_cpu: float
    commands: Commands
    """During both loads and after them, without what is asked when there is no load."""

    @property
    def requests(self) -> int:
        """Of both loads."""
        return self.before.requests + self.load.requests


def alternate(
    name: str, sides: Sequence[Side], store: StoreMeter, effort: Effort, *, at_once: int, **labels: int
) -> dict[str, Any]:
    """Measure the sides in turn; the first is what the others are compared with.

    :param name: what it is, for who watches.
    :param at_once: requests; each HTTP connection has one on its way.
    :param labels: what else tells this comparison from others of its kind, such as ``workers=2``.
    :raises RoundFailed: an answer was no success.
    """
    rounds: dict[str, list[Round]] = {side.name: [] for side in sides}
    processes = {store.pid, *(pid for side in sides for pid in side.workers)}
    _until_quiet(processes)
    background = store.idle
    for _ in range(effort.rounds):
        for side in sides:
            rounds[side.name].append(_load(side, store, at_once, effort.seconds, processes, background))
    first = sides[0].name
    comparison = {
        **labels,
        "at_once": at_once,
        "sides": [
            {"name": side.name, **summary(rounds[side.name], rounds[first]), "worker_megabytes": _megabytes(side)}
            for side in sides
        ],
    }
    _tell(f"{name}, {said(comparison)}", comparison)
    return comparison


def said(comparison: Mapping[str, Any]) -> str:
    """What tells a comparison from others of its kind, in words: ``1 worker, 16 at once``."""
    labels = {name: value for name, value in comparison.items() if name != "sides"}
    words = [(value, name.replace("_", " ")) for name, value in labels.items()]
    return ", ".join(f"{value:,} {name.removesuffix('s') if value == 1 else name}" for value, name in words)


def _load(
    side: Side, store: StoreMeter, at_once: int, seconds: int, processes: Collection[int], background: Commands
) -> Round:
    began = time.monotonic()
    calls, all_store, all_workers = store.calls(), total_cpu([store.pid]), total_cpu(side.workers)
    before = drive(side.url, side.requests(), at_once=at_once, seconds=_LEAD_SECONDS)
    requests = side.requests()
    store_cpu, workers = total_cpu([store.pid]), [total_cpu([pid]) for pid in side.workers]
    beside = {name: total_cpu(pids) for name, pids in side.beside.items()}
    load = drive(side.url, requests, at_once=at_once, seconds=seconds)
    worker_cpu = tuple(total_cpu([pid]) - cpu for pid, cpu in zip(side.workers, workers, strict=True))
    store_cpu = total_cpu([store.pid]) - store_cpu
    beside_cpu = {name: total_cpu(pids) - beside[name] for name, pids in side.beside.items()}
    _until_quiet(processes)
    return Round(
        before,
        load,
        worker_cpu,
        store_cpu,
        beside_cpu,
        all_worker_cpu=total_cpu(side.workers) - all_workers,
        all_store_cpu=total_cpu([store.pid]) - all_store,
        commands=Commands.between(calls, store.calls()).without(background, time.monotonic() - began),
    )


def _until_quiet(processes: Collection[int]) -> None:
    """Return once they need next to nothing, together; or after five seconds."""
    began = time.monotonic()
    before = total_cpu(processes)
    while time.monotonic() - began < _LONGEST_WAIT:
        time.sleep(_LOOK_SECONDS)
        now = total_cpu(processes)
        if now - before < _QUIET * _LOOK_SECONDS:
            return
        before = now


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
            "workers": _median(one.all_worker_cpu / one.requests * 1e6 for one in rounds),
            "store": _median(one.all_store_cpu / one.requests * 1e6 for one in rounds),
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
            "scripts": _median(one.commands.scripts / one.requests for one in rounds),
            "others": _median(one.commands.others / one.requests for one in rounds),
        },
        "rounds": [asdict(one) for one in rounds],
    }


def _median(figures: Iterable[float]) -> float:
    return round(statistics.median(figures), 2)


def _megabytes(side: Side) -> int:
    return round(statistics.median(map(resident, side.workers)) / 1e6)


def _tell(title: str, comparison: Mapping[str, Any]) -> None:
    for side in comparison["sides"]:
        latency = side["milliseconds"]
        print(
            f"{title:40} {side['name']:18} {side['requests_per_second']:>7,}/s  ×{side['ratio']:<5} "
            f"p50 {latency['p50']:<6} p99 {latency['p99']:<6} ms  CPU {side['cpu_microseconds']['workers']:.0f} µs, "
            f"store {side['cpu_microseconds']['store']:.0f} µs",
            file=sys.stderr,
        )
