"""Cold start, from the command to the first answer that says ready; and memory of a worker that has just started."""

import statistics
from typing import Any

from bench.processes import resident
from bench.rounds import Effort
from bench.world import world

_STARTS, _QUICK_STARTS = 5, 3


def measure(effort: Effort) -> dict[str, Any]:
    """Answers medians, the worst, and each."""
    seconds, megabytes = [], []
    for _ in range(_QUICK_STARTS if effort.quick else _STARTS):
        with world() as running:
            seconds.append(round(running.seconds_to_ready, 3))
            megabytes += [round(resident(pid) / 1e6, 1) for pid in running.workers()]
    median, worker = round(statistics.median(seconds), 2), round(statistics.median(megabytes))
    return {
        "figures": {
            f"cold start, embedded store, until `/readyz` says ready (median of {len(seconds)})": f"{median} s",
            "the slowest of them": f"{max(seconds):.2f} s",
            "memory of a worker then": f"{worker} MB",
        },
        "seconds_to_ready": median,
        "worker_megabytes": worker,
        "each": {"seconds": seconds, "megabytes": megabytes},
    }
