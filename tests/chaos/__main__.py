"""``make chaos``: run everything, print the table; exit code 1 if something was lost.

``quick`` goes through the matrix once. ``--write FILE`` puts the table into a document, between its markers.
"""

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

from broker.observe import logs
from tests.chaos import lanes, report

_ROUNDS = 2


def main() -> int:
    """Answers the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("form", nargs="?", choices=["full", "quick"], default="full")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a document with the two markers")
    options = parser.parse_args()
    logs.configure("CRITICAL", "console")
    # The run cuts connections all the time; that a stream ended is no news.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    outcome, began = lanes.Outcome(), time.monotonic()
    try:
        asyncio.run(lanes.everything(outcome, rounds=1 if options.form == "quick" else _ROUNDS))
    finally:
        seconds = time.monotonic() - began
        rows = report.table(outcome)
        print(report.text(rows))
    wrong = report.failures(outcome)
    print(f"\n{seconds:.0f} s. A star: a provider that takes each refresh token once may have it used up by then.")
    for line in wrong:
        print(f"NOT AS IT MUST BE: {line}")
    if options.write and not wrong:
        report.write(options.write, rows, seconds)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
