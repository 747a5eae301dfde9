"""The console script ``broker``. It loads the commands, and Ctrl-C ends it without a word while it does."""

import os
import signal
import sys
from collections.abc import Sequence

_INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; ends with ``SystemExit``. The exit codes stand in :mod:`broker.cli.faults`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Who ignores the signal (nohup, a shell's ``&``) goes on doing so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        # Loading takes long enough for a second thought. An exception could come out of any import, with a traceback
        # of a page, or be lost in one; and nothing has begun yet that would have to be tidied up.
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        from broker.cli.application import application, run  # noqa: PLC0415 - see above

        app = application(words)
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    run(app, words)


if __name__ == "__main__":
    main()
