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
    try:
        run(app, words)
    finally:
        _say_the_rest()


def _say_the_rest() -> None:
    """Write out what is still to be written. A reader that went away (``| head``) is no fault of the command's."""
    if sys.stdout is None:  # closed by who started it
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Or the interpreter tries once more at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
