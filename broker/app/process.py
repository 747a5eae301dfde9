"""A worker process as its parent sees it: started, listened to, signalled; and what the two agree on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

EXIT_CONFIGURATION = 2
"""The exit code of a worker whose configuration is at fault: starting it again would not help."""
READY = b"\n"
"""What a worker writes into its status pipe once it serves requests."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_HEALTHY_SECONDS = 30.0


class WorkerProcess:
    """One worker. It leads a process group of its own, so a terminal's Ctrl-C reaches only the parent."""

    def __init__(self, app: str, listener: socket.socket, *, lifeline: int, environ: Mapping[str, str]) -> None:
        """Start it.

        :param app: ``module:function`` that makes the app from the settings.
        :param lifeline: the read end of a pipe whose write end only the parent has.
        """
        self.ready = False
        self._started = time.monotonic()
        self._status, theirs = os.pipe()
        ends = (listener.fileno(), theirs, lifeline)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, and nothing a caller could choose
                # -P: a file named like one of our imports in the working directory must not take its place.
                [sys.executable, "-P", "-m", "broker.app.worker", app, *map(str, ends)],
                stdin=subprocess.DEVNULL,
                env=dict(environ),
                pass_fds=ends,
                process_group=0,
            )
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def fileno(self) -> int:
        """The status pipe: readable when the worker became ready, and when it ended."""
        return self._status

    def listen(self) -> bool:
        """Take in what the readable status pipe says; whether the worker goes on."""
        if os.read(self._status, len(READY)):
            self.ready = True
            return True
        os.close(self._status)
        return False

    def wait(self) -> int:
        """The exit code of a worker that has ended; if a signal ended it, that signal's number, negated."""
        return self._process.wait()

    def lived(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


class Backoff:
    """How long to wait before something that ended is started again: 0.1 s, doubling up to 5 s."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE_SECONDS

    def pause(self, lived: float) -> float:
        """Seconds to wait after a life of ``lived`` seconds. After a long one counting starts anew."""
        if lived >= _HEALTHY_SECONDS:
            self._pause = _FIRST_PAUSE_SECONDS
        pause = self._pause
        self._pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return pause
