"""What moving in costs: how many rows a second are looked through, stored, published and taken back.

The commands are run as operators run them, beside a broker that serves; what a step takes is what the command itself
says on its way, so starting Python is not in it. Rows hold grants of the practice provider, which answers at once: with
verification its own work is measured, too, for it runs on the same machine.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import httpx2

from bench.rounds import Effort
from bench.world import World, world
from broker.cli import importing
from broker.cli.main import main as broker
from broker.cli.progress import TellHowFar

_ROWS = 10_000
_QUICK_ROWS = 2_000


def measure(effort: Effort) -> dict[str, Any]:
    """Answers the rows per second of each step, asked at the provider and not, and the command's peak of memory."""
    rows = _QUICK_ROWS if effort.quick else _ROWS
    report: dict[str, Any] = {"rows": rows}
    with world() as running, TemporaryDirectory() as folder:
        subjects = count(1)
        for name, options in (("unverified", ["--no-verify"]), ("verified", [])):
            file = Path(folder) / f"{name}.jsonl"
            file.write_text("".join(f"{json.dumps(row)}\n" for row in _rows(running, rows, subjects)))
            steps: dict[str, Any] = {}
            done = _timed(running, steps, str(file), *options)
            steps["seconds_in_all"] = done.pop("seconds")
            back: dict[str, Any] = {}
            rolled_back = _timed(running, back, "--rollback", done["batch"])
            steps |= {"rollback_rows_per_second": round(rows / rolled_back["seconds"])}
            assert (done["imported"], rolled_back["removed"]) == (rows, rows)
            report[name] = steps
    report["command_peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    report["figures"] = {
        f"{rows:,} rows moved in, unasked": f"{report['unverified']['seconds_in_all']:.0f} s",
        f"{rows:,} rows moved in, each tried at the provider": f"{report['verified']['seconds_in_all']:.0f} s",
        "taken back": f"{report['unverified']['rollback_rows_per_second']:,} rows/s",
        "peak of the command's memory": f"{report['command_peak_megabytes']} MB",
    }
    return report


def _rows(running: World, number: int, subjects: Iterator[int]) -> Iterator[dict[str, Any]]:
    minted = httpx2.post(f"{running.provider_url}/control/grants", json={"count": number}, trust_env=False, timeout=60)
    ends = int(time.time()) + 3600
    for tokens in minted.raise_for_status().json():
        subject = f"person {next(subjects)}"
        yield {"provider": "practice", "subject": subject, "credentials": {**tokens, "expires_at": ends}}


def _timed(running: World, steps: dict[str, Any], *words: str) -> dict[str, Any]:
    """Run the command; answers its document and its seconds, and notes in ``steps`` how fast each step went."""
    began = time.perf_counter()
    process = running.command("bench.moving", "connections", "import", *words, "--json")
    document: dict[str, Any] = json.loads(process.stdout)
    document["seconds"] = round(time.perf_counter() - began, 2)
    for line in process.stderr.splitlines():
        if line.startswith('{"step"'):
            step = json.loads(line)
            steps[f"{step['step']}_rows_per_second"] = step["rows_per_second"]
    return document


class _Steps:
    """Stands in the place of what tells people how far it is: says at the end how fast each step was."""

    def __enter__(self) -> TellHowFar:
        self._since, self._until = time.perf_counter(), dict[str, tuple[float, int]]()
        return self._tell

    def _tell(self, step: str, done: int, _of: int | None) -> None:
        self._until[step] = (time.perf_counter(), done)

    def __exit__(self, *_: object) -> None:
        for step, (until, done) in self._until.items():
            line = {"step": step.replace(" ", "_"), "rows_per_second": round(done / (until - self._since))}
            print(json.dumps(line), file=sys.stderr)
            self._since = until


if __name__ == "__main__":
    with patch.object(importing, "how_far", _Steps):
        broker(sys.argv[1:])
