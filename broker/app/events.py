"""What a process that only supervises waits for: readable descriptors, due times and signals."""

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol


class Source(Protocol):
    """Something that can become readable."""

    def fileno(self) -> int:
        """Its descriptor."""


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The read and the write end of a pipe that the context closes."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


class Events:
    """Waits for several things at once and calls whoever cares, one after the other, in one thread."""

    def __init__(self) -> None:
        self.signals = 0
        """How many of the signals counted so far have arrived."""
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, Callable[[], object]]] = []

    def watch(self, source: Source | int, react: Callable[[], object]) -> None:
        """Call ``react`` whenever ``source`` is readable."""
        self._selector.register(source, selectors.EVENT_READ, react)

    def forget(self, source: Source | int) -> None:
        """Watch ``source`` no longer. Its descriptor must not have changed meanwhile."""
        self._selector.unregister(source)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` once, ``seconds`` from now."""
        self._due.append((time.monotonic() + seconds, action))

    def cancel_later(self) -> None:
        """Drop everything that was to be called later."""
        self._due.clear()

    def handle(self, deadline: float | None = None) -> None:
        """Wait until something happens, or until ``deadline`` (of ``time.monotonic``), and call who cares."""
        moments = [when for when, _ in self._due] + ([deadline] if deadline is not None else [])
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        for key, _ in self._selector.select(timeout):
            key.data()
        now = time.monotonic()
        overdue = [action for when, action in self._due if when <= now]
        self._due = [(when, action) for when, action in self._due if when > now]
        for action in overdue:
            action()

    @contextmanager
    def counting(self, numbers: Sequence[signal.Signals]) -> Iterator[None]:
        """Count the signals ``numbers`` instead of dying of them, and let them end a wait.

        One that is ignored stays ignored: that is how ``nohup`` and a shell's ``&`` ask for it.
        """

        def count(*_: object) -> None:
            self.signals += 1

        heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        with pipe() as (reader, writer):
            os.set_blocking(writer, False)
            self.watch(reader, partial(os.read, reader, 64))
            handlers = {number: signal.signal(number, count) for number in heeded}
            # Python resumes an interrupted wait; the byte that it writes here per signal ends the wait.
            wakeup = signal.set_wakeup_fd(writer)
            try:
                yield
            finally:
                signal.set_wakeup_fd(wakeup)
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                self.forget(reader)
