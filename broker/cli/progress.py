"""How a long command gets on, on stderr: what changes at a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from broker.cli.output import note

_QUIET: Final = 5.0
"""Seconds between two lines about the same step."""

TellHowFar = Callable[[str, int, int | None], None]
"""Called with the step, how much of it is done, and how much there is, where that is known."""


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Called with what is being done now; its first word says which step that is."""
    if not sys.stderr.isatty():
        yield _Lines().tell
        return
    from rich.console import Console  # noqa: PLC0415 - needed where a person looks
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text("starting")) as shown:
        yield lambda text: shown.update(Text(text))


@contextmanager
def how_far() -> Iterator[TellHowFar]:
    """A bar, with how many a second and how long it takes yet; where no terminal is, lines that say the same."""
    if not sys.stderr.isatty():
        lines = _Counts()
        try:
            yield lines.tell
        finally:
            lines.end()
        return
    from rich.console import Console  # noqa: PLC0415 - needed where a person looks
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        counts = _Counts()
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: int, of: int | None) -> None:
            rate = counts.rate(step, done)
            if step not in tasks:
                for finished in tasks.values():
                    shown.remove_task(finished)
                tasks.clear()
                tasks[step] = shown.add_task(step, total=of, rate="")
            shown.update(tasks[step], completed=done, total=of, rate=f"{rate}/s" if rate else "")

        yield tell


class _Lines:
    """Says a step when it begins, and how far it is every few seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._said_at = 0.0
        self._unsaid = ""

    def tell(self, text: str, *, step: str = "") -> None:
        step, now = step or text.partition(" ")[0], time.monotonic()
        self._unsaid = text
        if step != self._step or now >= self._said_at + _QUIET:
            self._step, self._said_at = step, now
            self.say()

    def say(self) -> None:
        """What was told last, unless it is said."""
        if self._unsaid:
            note(self._unsaid)
        self._unsaid = ""


class _Counts:
    """How fast a step goes, from its first sign on."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._step = ""
        self._began = (0, 0.0)

    def rate(self, step: str, done: int) -> int:
        """How many a second; 0: nobody knows yet."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._began = step, (done, now)
            return 0
        first, began = self._began
        return int((done - first) / (now - began)) if now > began else 0

    def tell(self, step: str, done: int, of: int | None) -> None:
        """How far it is, in words."""
        if step != self._step:
            self.end()
        rate = self.rate(step, done)
        parts = [f"{step} {done}" + (f" of {of}" if of is not None else "")]
        if rate:
            parts.append(f"{rate}/s")
            if of is not None and of > done:
                parts.append(f"{(of - done) // rate} s left")
        self._lines.tell(", ".join(parts), step=step)

    def end(self) -> None:
        """The step is over: how far it came is said."""
        self._lines.say()
