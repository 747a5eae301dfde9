"""One worker process, as the supervisor starts it: how it loads what serves requests, which is in ``serving``.

Most of a worker's start is loading libraries, and most of its memory is what they leave there. So it is decided here,
before the first of them: what isn't loaded at all, and that nobody looks for garbage meanwhile.
"""

import gc
import sys
from collections.abc import Sequence
from typing import Final

_LEFT_OUT: Final = ("rich", "greenlet")
"""What structlog takes along where it finds it: rich for tracebacks in colours and with the values of variables, which
might be secrets; greenlet for a module of its own that is out of use. The first is installed for the commands, the
second may be for somebody else; together they would be 5 MB of a worker."""


def main(arguments: Sequence[str]) -> int:
    """Serve until told to leave; the process's exit code. Arguments and exit codes: :func:`broker.app.serving.serve`.

    :param arguments: the app, then the numbers of the three open files.
    """
    app, listener, status, lifeline = arguments
    # Until requests are served nothing is garbage; looking for some would be a tenth of the start.
    gc.disable()
    for name in _LEFT_OUT:
        sys.modules[name] = None  # type: ignore[assignment]  # whoever imports it is told that there is none
    from broker.app.serving import serve  # noqa: PLC0415 - not before the lines above

    return serve(app, listener=int(listener), status=int(status), lifeline=int(lifeline))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
