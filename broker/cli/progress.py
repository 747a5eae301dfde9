"""How a long command gets on, on stderr: a line that changes at a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from broker.cli.output import note

_QUIET: Final = 5.0
"""Seconds between two lines about the same step."""


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


class _Lines:
    """Says a step when it begins, and how far it is every few seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._said_at = 0.0

    def tell(self, text: str) -> None:
        step, now = text.partition(" ")[0], time.monotonic()
        if step != self._step or now >= self._said_at + _QUIET:
            self._step, self._said_at = step, now
            note(text)
