"""Run all scenarios; see ``bench.refresh_load``."""

import json
import sys
from collections.abc import Sequence

from bench.refresh_load import page
from bench.refresh_load.run import run_all

_QUICK = "quick"


def main(arguments: Sequence[str]) -> int:
    """Renew the committed figures, or print those of a quick run."""
    if any(word != _QUICK for word in arguments):
        print("usage: python -m bench.refresh_load [quick]", file=sys.stderr)
        return 2
    outcomes = run_all(quick=bool(arguments))
    if arguments:
        print(json.dumps({name: outcome.figures for name, outcome in outcomes.items()}, indent=1))
    else:
        page.renew(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
