"""Measure what is named, or everything; see ``python -m bench --help``."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import capacity_page, document, results
from bench.marks import MarkMissing
from bench.rounds import FULL, QUICK
from bench.scenarios import SCENARIOS
from bench.wrk import RoundFailed, WrkMissing, require_wrk

_QUICK: Final = "quick"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the process's exit code: 1 or 130 (interrupted) = nothing was written, 2 = this can't be asked for."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(_listed())
        return 0
    quick = _QUICK in options.names
    named = [name for name in options.names if name != _QUICK]
    renewing = options.renew or not (named or quick or options.results)
    if options.renew and quick:
        print("*** A quick run does not renew the committed figures.", file=sys.stderr)
        return 2
    try:
        require_wrk()
        taken = _measure(named or _of_a_run(quick=quick), quick=quick, renewing=renewing)
    except (WrkMissing, RoundFailed, MarkMissing) as error:
        print(f"*** {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("*** Interrupted: nothing was renewed", file=sys.stderr)
        return 130
    if options.results:
        results.write(options.results, taken)
    elif not renewing:
        print(document.alone(taken))
    return 0


def _measure(names: Sequence[str], *, quick: bool, renewing: bool) -> results.Results:
    if renewing:
        # Before ten minutes of measuring, not after them.
        document.check_marks(names)
    taken = results.take(names, QUICK if quick else FULL)
    if renewing:
        both = {**results.read(results.COMMITTED), **taken}
        document.renew({name: both[name] for name in SCENARIOS if name in both})
        print("Renewed bench/results.json, docs/performance.md and docs/performance.svg", file=sys.stderr)
        capacity_page.renew(both)
        print("Renewed what docs/scaling.md computes with them", file=sys.stderr)
    return taken


def _of_a_run(*, quick: bool) -> list[str]:
    return [name for name, each in SCENARIOS.items() if each.always and (each.quickly or not quick)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Start everything on loopback, measure, and say what was seen.",
        epilog=f"""scenarios:
{_listed()}

Everything, in full, renews the committed figures: bench/results.json, and with it the tables of docs/performance.md
and docs/performance.svg. Named scenarios print their tables instead, and so does a quick run; every round is in what
--results writes.""",
    )
    parser.add_argument("names", nargs="*", type=_name, metavar="SCENARIO|quick")
    parser.add_argument("--list", action="store_true", help="say what can be measured, and end")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write what was seen into FILE, and nowhere else")
    parser.add_argument("--renew", action="store_true", help="let named scenarios renew their committed figures")
    return parser


def _listed() -> str:
    lines = [f"  {name:16}{each.about}{'' if each.always else ' *'}" for name, each in SCENARIOS.items()]
    return "\n".join([*lines, "  * only when it is named"])


def _name(word: str) -> str:
    if word != _QUICK and word not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"there is no scenario {word!r}; known are {', '.join(SCENARIOS)}")
    return word


if __name__ == "__main__":
    # What was started is ended on the way out; by itself this signal would leave it running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
