"""``docs/scaling.md``'s table of the simulation, between its marks, and the plot beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from bench.marks import filled
from bench.refresh_load import plot
from bench.refresh_load.run import Outcome

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = _DOCS / "scaling.md"
PICTURE: Final = _DOCS / "scaling-refreshes.svg"
_FIRST: Final = "seconds_until_the_first_answer"
_NOBODY: Final = "seconds_until_nobody_waits"
_LONG, _MINUTES = 720, 10
"""Of curves with more points (each a minute) so many become one."""
_PANELS: Final = {
    "Two days: 1 % used by machines, 4 % by people in their day, the others idle": "two days",
    "An hour's outage": "outage",
    "Everything connected in one minute": "minute",
}
"""What is together: by a part of the scenarios' names."""


def renew(outcomes: Mapping[str, Outcome]) -> None:
    """Put the table and the plot in the place of the old ones."""
    text = filled(PAGE.read_text(), {"refresh_load": table(outcomes)}, where="docs/scaling.md")
    picture = draw(outcomes)
    PAGE.write_text(text)
    PICTURE.write_text(picture)


def table(outcomes: Mapping[str, Outcome]) -> str:
    """A column for each scenario, a row for each thing that there is to say of it."""
    head = ("scenario", *outcomes)
    rows = [
        ("connections", *_each(outcomes, lambda it: f"{it['connections']:,}")),
        ("simulated hours", *_each(outcomes, lambda it: f"{it['hours']:g}")),
        ("`max_concurrent`, seconds an answer takes", *_each(outcomes, _provider)),
        ("due times spread", *_each(outcomes, lambda it: "yes" if it["spread"] else "**no**")),
        ("refreshes", *_each(outcomes, lambda it: f"{it['refreshes']:,}")),
        ("a second: mean without outage, busiest minute", *_each(outcomes, _rates)),
        ("most at once", *_each(outcomes, lambda it: f"{it['most_at_once']}")),
        ("longest queue", *_each(outcomes, lambda it: f"{it['longest_queue']:,}")),
        ("tokens over before they were renewed, though used", *_each(outcomes, _late)),
        (
            "first callers after a pause, who waited for one refresh",
            *_each(outcomes, lambda it: f"{it['came_back']:,}"),
        ),
        ("requests into the outage", *_each(outcomes, lambda it: _outage(it, "asked_in_vain"))),
        ("after it, seconds until the first answer", *_each(outcomes, lambda it: _outage(it, _FIRST))),
        ("… until every token in use is fresh", *_each(outcomes, lambda it: _outage(it, _NOBODY))),
        ("… until the queue is as before", *_each(outcomes, lambda it: _outage(it, "seconds_until_drained"))),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def draw(outcomes: Mapping[str, Outcome]) -> str:
    """The curves, in panels."""
    panels: dict[str, dict[str, Sequence[float]]] = {}
    minutes: dict[str, int] = {}
    outages: dict[str, tuple[float, float]] = {}
    for title, part in _PANELS.items():
        for name, outcome in outcomes.items():
            if part in name or (part == "minute" and "the same" in name):
                minutes[title] = _MINUTES if len(outcome.curve) > _LONG else 1
                panels.setdefault(title, {})[name] = _coarser(outcome.curve, minutes[title])
                if outcome.outage:
                    outages[title] = outcome.outage
    return plot.draw(panels, minutes=minutes, outages=outages)


def _coarser(curve: Sequence[float], minutes: int) -> list[float]:
    return [fmean(curve[first : first + minutes]) for first in range(0, len(curve), minutes)]


def _each(outcomes: Mapping[str, Outcome], say: Callable[[Mapping[str, Any]], str]) -> list[str]:
    return [say(outcome.figures) for outcome in outcomes.values()]


def _provider(figures: Mapping[str, Any]) -> str:
    return f"{figures['max_concurrent']}, {figures['answers_after']:g}"


def _rates(figures: Mapping[str, Any]) -> str:
    return f"{figures['mean_per_second']:g}, {figures['peak_per_second']:g} (×{figures['peak_to_mean']:g})"


def _late(figures: Mapping[str, Any]) -> str:
    return f"{figures['late']:,}" + (f", {figures['late_longest_seconds']:,} s at most" if figures["late"] else "")


def _outage(figures: Mapping[str, Any], name: str) -> str:
    if "outage" not in figures:
        return "–"
    figure = figures["outage"][name]
    return "not in time" if figure is None else f"{figure:,}"
