"""What the broker is to reach, and whether it did: each target is judged by the worst of the figures it is about.

Each of these figures is itself a median, of rounds or of starts: one bad round does not fail a target.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Reports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """One of them."""

    what: str
    scenario: str
    bound: float
    at_least: bool
    unit: str
    figures: Callable[[Mapping[str, Any]], Iterable[float]]
    """All that a report says about it."""


@dataclass(frozen=True)
class Verdict:
    """How it stands with a target."""

    what: str
    wanted: str
    measured: str
    met: bool


def judge(reports: Reports) -> list[Verdict]:
    """Of each target whose scenario was measured."""
    verdicts = []
    for target in TARGETS:
        if target.scenario not in reports:
            continue
        figures = list(target.figures(reports[target.scenario]))
        if not figures:  # a quick run does less than that
            continue
        worst = min(figures) if target.at_least else max(figures)
        met = worst >= target.bound if target.at_least else worst <= target.bound
        sign = "≥" if target.at_least else "≤"
        wanted = f"{sign} {target.bound:,g}{target.unit}"
        verdicts.append(Verdict(target.what, wanted, f"{worst:,.4g}{target.unit}", met))
    return verdicts


def _broker_sides(report: Mapping[str, Any], *at_once: int) -> Iterable[Mapping[str, Any]]:
    for comparison in report["comparisons"]:
        if comparison["workers"] == 1 and comparison["at_once"] in at_once:
            yield from comparison["sides"][1:]


def _ratios(report: Mapping[str, Any]) -> Iterable[float]:
    return (side["ratio"] for side in _broker_sides(report, 16, 64))


def _tails(report: Mapping[str, Any]) -> Iterable[float]:
    return (side["milliseconds"]["p99"] / side["milliseconds"]["p50"] for side in _broker_sides(report, 16, 64))


def _memory_after(report: Mapping[str, Any]) -> Iterable[float]:
    """Of the largest worker after each comparison, whichever callers it had, with one worker and with more."""
    return (side["worker_megabytes"] for each in report["comparisons"] for side in each["sides"][1:])


def _of_a_million(report: Mapping[str, Any], figure: str) -> Iterable[float]:
    return [] if any(size["connections"] < 1_000_000 for size in report.get("sizes", [])[-1:]) else [report[figure]]


TARGETS: Final = (
    Target(
        "Fetch of a fresh token against the floor, one worker, 16 and 64 at once",
        "fetching",
        1.3,
        True,
        "×",
        _ratios,
    ),
    Target("p99 of these fetches as a multiple of their p50", "fetching", 3, False, "×", _tails),
    Target("Redeeming a reference against the floor, 16 and 64 at once", "redeeming", 0.7, True, "×", _ratios),
    Target(
        "Memory of the store for each of a million connections",
        *("million", 1536, False, " B"),
        lambda report: _of_a_million(report, "bytes_per_connection"),
    ),
    Target(
        "Fetch latency (p50) with a million connections, as a multiple of that with a thousand",
        *("million", 1.15, False, "×"),
        lambda report: _of_a_million(report, "latency_ratio"),
    ),
    Target("Cold start until ready", "starting", 1.5, False, " s", lambda report: [report["seconds_to_ready"]]),
    Target(
        "Memory of a worker, just started", "starting", 90, False, " MB", lambda report: [report["worker_megabytes"]]
    ),
    Target("Memory of a worker, after the load of fetches", "fetching", 90, False, " MB", _memory_after),
)
