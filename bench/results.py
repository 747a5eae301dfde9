"""The results of runs: ``bench/results.json``, what each scenario saw when it was last measured in full.

Each scenario's part says when and where it was taken, so one of them can be measured again without the others. Every
round is in there: whoever doubts a median can look.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.processes import Others
from bench.rounds import Effort
from bench.scenarios import SCENARIOS

ROOT: Final = Path(__file__).resolve().parent.parent
COMMITTED: Final = ROOT / "bench" / "results.json"

BESIDE: Final = 0.1
"""Of a core: what other programs may take before it is said aloud."""

Results = dict[str, dict[str, Any]]
"""A report by scenario."""


def take(names: Sequence[str], effort: Effort, *, wall: Callable[[], float] = time.time) -> Results:
    """Measure those scenarios, one after the other.

    :raises RoundFailed: an answer was no success: then there are no results at all.
    """
    machine, revision = describe_machine(), _revision()
    results: Results = {}
    for name in names:
        print(f"== {name}: {SCENARIOS[name].about}", file=sys.stderr)
        began, others = time.monotonic(), Others()
        report = SCENARIOS[name].measure(effort)
        seconds, foreign = round(time.monotonic() - began), round(others.cores(), 2)
        for words, figure in report.get("figures", {}).items():
            print(f"{words:75} {figure}", file=sys.stderr)
        print(f"   {seconds} s", file=sys.stderr)
        if foreign > BESIDE:
            print(f"*** Other programs kept {foreign} cores busy: these figures are not worth much.", file=sys.stderr)
        taken = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall())),
            "machine": machine,
            "revision": revision,
            "quick": effort.quick,
            "rounds": effort.rounds,
            "seconds_of_a_round": effort.seconds,
            "took_seconds": seconds,
            "others_cores": foreign,
        }
        results[name] = {"taken": taken, **report}
    print(f"== {sum(report['taken']['took_seconds'] for report in results.values())} s in all", file=sys.stderr)
    return results


def describe_machine() -> str:
    """The cores and their kind, the system and the Python."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = f" ({line.partition(':')[2].strip()})"
            break
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{os.cpu_count()} cores{model}, {system}, Python {platform.python_version()}"


def _revision() -> str | None:
    """The commit that is measured, if git knows; ``-dirty`` if files differ from it."""
    words = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude", "*"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or None


def read(file: Path) -> Results:
    """What stands in a file; nothing, if there is none yet."""
    if not file.exists():
        return {}
    results: Results = json.loads(file.read_text())
    return results


def write(file: Path, results: Mapping[str, Any]) -> None:
    """Put results into a file, in one step: an interrupted run leaves the old ones."""
    replace(file, json.dumps(results, indent=1) + "\n")


def replace(file: Path, text: str) -> None:
    """Put a text into a file in one step."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text)
    fresh.replace(file)
