"""One worker process, as the supervisor starts it: how it loads what serves requests, which is in ``serving``.

Most of a worker's start is loading libraries, and most of its memory is what they leave there. So it is decided here,
before the first of them: what isn't loaded at all, and that nobody looks for garbage meanwhile.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import Final

_LEFT_OUT: Final = ("rich", "greenlet")
"""What structlog takes along where it finds it: rich for tracebacks in colours and with the values of variables, which
might be secrets; greenlet for a module of its own that is out of use. The first is installed for the commands, the
second may be for somebody else; together they would be 5 MB of a worker."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to leave; the process's exit code as of :func:`broker.app.serving.serve`."""
    parser = argparse.ArgumentParser(prog="python -m broker.app.worker", description=__doc__)
    parser.add_argument("--listen-fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--status-fd", type=int, required=True, help="a pipe that is told when requests are served")
    parser.add_argument("--lifeline-fd", type=int, required=True, help="a pipe that ends with the parent process")
    parser.add_argument("--app", required=True, help="module:function that makes the app from the settings")
    options = parser.parse_args(arguments)
    # Until requests are served nothing is garbage; looking for some would be a tenth of the start.
    gc.disable()
    for name in _LEFT_OUT:
        sys.modules[name] = None  # type: ignore[assignment]  # whoever imports it is told that there is none
    from broker.app.serving import serve  # noqa: PLC0415 - not before the lines above

    return serve(options.app, listener=options.listen_fd, status=options.status_fd, lifeline=options.lifeline_fd)


if __name__ == "__main__":
    sys.exit(main())
