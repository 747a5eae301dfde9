"""The table of a fault run, for people and for ``docs/reliability.md``."""

import os
import platform
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from broker.vault.redis.server import find_program
from tests.chaos.cases import ROTATIONS, STANDSTILLS, Case, Kill, Step, Store
from tests.chaos.judge import Finding, Verdict
from tests.chaos.lanes import Outcome
from tests.chaos.load import ROTATION

BEGIN: Final = "<!-- fault runs: begin -->"
END: Final = "<!-- fault runs: end -->"
_HEAD: Final = ("case", "runs", "survived", "declared", "lost")
_MAY: Final = " *"


def table(outcome: Outcome) -> list[Sequence[str]]:
    """The rows, the first one names the columns. A star marks those of which a part need not survive."""
    promised = [found for found in outcome.cases if found[0].promised]
    rows: list[Sequence[str]] = [_HEAD]
    for name, chosen in _grouped(promised):
        star = "" if all(case.must_survive for case, _ in chosen) else _MAY
        rows.append((name + star, *_counts([finding for _, finding in chosen])))
    if outcome.load:
        name = f"{ROTATION}, {outcome.kills}× kill -9 of the store among {outcome.told} refreshes"
        rows.append((name, *_counts(outcome.load)))
    rows.append(("all", *_counts([finding for _, finding in promised] + outcome.load)))
    unpromised = [found for found in outcome.cases if not found[0].promised]
    rows += [
        (f"not promised: {name}", *_counts([finding for _, finding in chosen])) for name, chosen in _grouped(unpromised)
    ]
    return rows


def text(rows: Sequence[Sequence[str]]) -> str:
    """For a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        " | ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def failures(outcome: Outcome) -> list[str]:
    """What must not be: lost, or only declared where it must survive."""
    wrong = [
        f"{case}: {finding.verdict}, {finding.why}"
        for case, finding in outcome.cases
        if case.promised
        and (finding.verdict is Verdict.LOST or (finding.verdict is Verdict.DECLARED and case.must_survive))
    ]
    wrong += ["broken off:\n" + "".join(traceback.format_exception(error)) for error in outcome.broken]
    return wrong + [
        f"under load: {finding.verdict}, {finding.why}"
        for finding in outcome.load
        if finding.verdict is not Verdict.SURVIVED
    ]


def write(path: Path, rows: Sequence[Sequence[str]], seconds: float) -> None:
    """Put the table between the two markers of a document.

    :raises ValueError: it lacks them.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}")
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|--:|--:|--:|--:|")
    table = "\n".join(lines)
    path.write_text(f"{before}{BEGIN}\n{_circumstances(seconds)}\n\n{table}\n{END}{after}")


def _grouped(found: Sequence[tuple[Case, Finding]]) -> list[tuple[str, list[tuple[Case, Finding]]]]:
    """The findings of each row, in the order in which people look for them."""
    groups: dict[str, list[tuple[Case, Finding]]] = {}
    for each in sorted(found, key=lambda each: _place(each[0])):
        groups.setdefault(_name(each[0]), []).append(each)
    return list(groups.items())


def _place(case: Case) -> tuple[int, ...]:
    behind = case.store is Store.FAILED_OVER_BEHIND
    rank = list(Kill).index(case.kill), list(Step).index(case.step)
    return int(case.living), int(behind), ROTATIONS.index(case.rotation), *rank


def _name(case: Case) -> str:
    if case.living:
        return f"{case.rotation}, {case.kill} at any step, living token"
    if case.store is Store.FAILED_OVER_BEHIND:
        return f"{case.rotation}, {case.kill} at any step, {case.store}"
    if case.kill in STANDSTILLS:
        return f"{case.rotation}, {case.kill}, at any step"
    return f"{case.rotation}, {case.kill} at {case.step.value}"


def _counts(findings: Iterable[Finding]) -> list[str]:
    counted = Counter(finding.verdict for finding in findings)
    return [str(counted.total()), *(str(counted[verdict]) for verdict in Verdict)]


def _circumstances(seconds: float) -> str:
    store = subprocess.run([find_program(), "--version"], check=True, capture_output=True, text=True).stdout.split()
    version = next((word.removeprefix("v=") for word in store if word.startswith("v=")), "?")
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {seconds:.0f} s on {os.cpu_count()} cores "
        f"({platform.system()} {platform.machine()}), Python {platform.python_version()}, Valkey {version}."
    )
