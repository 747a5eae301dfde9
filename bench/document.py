"""``docs/performance.md``: its tables stand between marks and are made of the results; the words around are people's.

``<!-- bench NAME -->`` and ``<!-- /bench NAME -->`` enclose what a scenario saw; ``targets`` is what came of the
targets, ``machine`` where and when it was. A mark that is missing is an error: a table would silently stay old.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bench import marks, plot
from bench.results import BESIDE, COMMITTED, ROOT, Results, replace, write
from bench.targets import judge

PAGE: Final = ROOT / "docs" / "performance.md"
PICTURE: Final = ROOT / "docs" / "performance.svg"
_COLUMNS: Final = (
    *("requests/s", "against the first", "p50 ms", "p99 ms", "p99.9 ms"),
    *("CPU of workers, µs", "of the store, µs", "store scripts", "other calls"),
)


def renew(results: Results) -> None:
    """Put the results, the page's tables and the plot in the place of the old ones.

    :raises MarkMissing: then everything is as it was.
    """
    page = filled(PAGE.read_text(), results)
    picture = plot.draw(results)
    write(COMMITTED, results)
    replace(PAGE, page)
    replace(PICTURE, picture)


def filled(page: str, results: Results) -> str:
    """The page with the tables of these results.

    :raises MarkMissing: a table has no place.
    """
    return marks.filled(page, _parts(results), where="docs/performance.md")


def alone(results: Results) -> str:
    """The tables without the page, for who has just measured."""
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in _parts(results).items())


def check_marks(names: Iterable[str]) -> None:
    """Return if the page has a place for what these scenarios see.

    :raises MarkMissing: it has not.
    """
    parts = dict.fromkeys(("targets", "machine", *names), "")
    marks.filled(PAGE.read_text(), parts, where="docs/performance.md")


def _parts(results: Results) -> dict[str, str]:
    """What comes into each place."""
    of_all = {"targets": _targets(results), "machine": _machine(results)}
    return of_all | {name: _of_scenario(report) for name, report in results.items()}


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, tuple("---" for _ in head), *rows])


def _targets(results: Results) -> str:
    rows = [
        (each.what, each.wanted, each.measured, "yes" if each.met else "**falls short**") for each in judge(results)
    ]
    if not rows:
        return "Nothing was measured that a target is about."
    return _table(("target", "wanted", "the worst median", "reached"), rows)


def _machine(results: Results) -> str:
    """Where and when: of each scenario, as one may have been measured again."""
    by_taking: dict[tuple[str, str, str], list[str]] = {}
    for name, report in results.items():
        taken = report["taken"]
        by_taking.setdefault((taken["machine"], taken["at"][:10], taken["revision"] or "unknown"), []).append(name)
    beside = max((report["taken"]["others_cores"] for report in results.values()), default=0)
    disturbed = [name for name, report in results.items() if report["taken"]["others_cores"] > BESIDE]
    return "\n".join(
        [
            *(
                f"- {', '.join(sorted(names))}: {machine}; {day}, revision `{revision}`"
                for (machine, day, revision), names in sorted(by_taking.items())
            ),
            f"- other programs kept {beside:.2f} cores busy meanwhile, at most",
            *(f"- **take them with care: {', '.join(sorted(disturbed))}**" for _ in disturbed[:1]),
        ]
    )


def _of_scenario(report: Mapping[str, Any]) -> str:
    parts = []
    if (beside := report["taken"]["others_cores"]) > BESIDE:
        parts.append(f"**Not measured on an idle machine: other programs kept {beside:.2f} cores busy meanwhile.**")
    comparisons = report.get("comparisons", [])
    if comparisons:
        labels = tuple(name for name in comparisons[0] if name != "sides")
        rows = [
            (*(f"{comparison[label]:,}" for label in labels), *_cells(side))
            for comparison in comparisons
            for side in comparison["sides"]
        ]
        names = (label.replace("_", " ") for label in labels)
        parts.append(_table((*names, "", *_COLUMNS), rows))
        parts.append("Medians of the rounds; in brackets the lowest and the highest of them.")
    if figures := report.get("figures"):
        parts.append(_table(("what", "figure"), [(words, str(figure)) for words, figure in figures.items()]))
    return "\n\n".join(parts)


def _cells(side: Mapping[str, Any]) -> tuple[str, ...]:
    slowest, fastest = side["requests_per_second_spread"]
    lowest, highest = side["ratio_spread"]
    latency, cpu, asked = side["milliseconds"], side["cpu_microseconds"], side["store_calls"]
    return (
        side["name"],
        f"{side['requests_per_second']:,} ({slowest:,}–{fastest:,})",
        f"{side['ratio']:.2f}× ({lowest:.2f}–{highest:.2f})" if lowest != highest or side["ratio"] != 1 else "",
        *(f"{latency[name]:.2f}" for name in ("p50", "p99", "p999")),
        f"{cpu['workers']:.0f}",
        f"{cpu['store']:.0f}",
        f"{asked['scripts']:.2f}",
        f"{asked['others']:.2f}",
    )
