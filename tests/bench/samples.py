"""Reports as scenarios make them, with figures that are easy to follow."""

from typing import Any

from bench.processes import Commands
from bench.results import Results
from bench.rounds import Round, summary
from bench.wrk import Load

TAKEN: dict[str, Any] = {
    "at": "2026-11-26T12:00:00Z",
    "machine": "2 cores, Linux 6.18, Python 3.11.7",
    "revision": "0123abc",
    "quick": False,
    "rounds": 3,
    "seconds_of_a_round": 2,
    "took_seconds": 60,
    "others_cores": 0.02,
}


def load(requests: int, *, p50: float = 1.0) -> Load:
    """Two seconds of so many requests, a quarter of wrk's core."""
    return Load(requests, 2.0, p50=p50, p90=2 * p50, p99=2 * p50, p999=4 * p50, longest=8 * p50, cpu_seconds=0.5)


def round_of(requests: int, *, p50: float = 1.0) -> Round:
    """A round whose worker needed 100 µs and whose store 20 µs for each request, and one script with two calls."""
    before = load(requests // 2)
    both = requests + before.requests
    return Round(
        before,
        load(requests, p50=p50),
        worker_cpu=(1.0,),
        store_cpu=0.2,
        beside_cpu={"provider": 0.1},
        all_worker_cpu=both * 100e-6,
        all_store_cpu=both * 20e-6,
        commands=Commands(scripts=both, others=2 * both),
    )


def comparison(floor: list[int], broker: list[int], *, at_once: int = 16, p50: float = 1.0) -> dict[str, Any]:
    """The floor and the broker, with so many requests in each of their rounds."""
    base, mine = ([round_of(requests, p50=p50) for requests in side] for side in (floor, broker))
    return {
        "workers": 1,
        "at_once": at_once,
        "sides": [
            {"name": "floor", **summary(base, base), "worker_megabytes": 40},
            {"name": "1 client", **summary(mine, base), "worker_megabytes": 86},
        ],
    }


def results() -> Results:
    """Of two scenarios: one that compares, one that says figures."""
    fetching = [comparison([20_000] * 3, [30_000] * 3, at_once=many) for many in (16, 64)]
    starting = {"figures": {"cold start": "1.4 s"}, "seconds_to_ready": 1.4, "worker_megabytes": 95}
    return {
        "fetching": {"taken": TAKEN, "comparisons": fetching},
        "starting": {"taken": TAKEN, **starting},
    }
