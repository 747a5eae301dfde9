"""Run the scenarios side by side, each in a process of its own."""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from bench.refresh_load.scenarios import per_minute, plans, report
from bench.refresh_load.simulation import simulate


@dataclass(frozen=True)
class Outcome:
    """What one scenario came to."""

    figures: Mapping[str, Any]
    curve: Sequence[float]
    """Refreshes per second, minute by minute."""
    outage: tuple[float, float] | None
    """Hours."""


def run_all(*, quick: bool) -> dict[str, Outcome]:
    """Every scenario by its name."""
    names = list(plans(quick=quick))
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        # In this order the longest come first, so that no core is left alone with one in the end.
        return dict(zip(names, processes.map(partial(run, quick=quick), names), strict=True))


def run(name: str, *, quick: bool) -> Outcome:
    """The scenario of that name."""
    # What the broker has to say of an outage, it would say of every connection.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()
    plan = plans(quick=quick)[name]
    seen = simulate(plan)
    print(f"{name:32} {time.monotonic() - began:.0f} s", file=sys.stderr)
    return Outcome(report(plan, seen), per_minute(seen.refreshed, hours=plan.hours), plan.outage)
