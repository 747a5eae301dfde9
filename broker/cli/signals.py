"""Ending a long command in good order: the first signal asks for it, the second one ends the command at once."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from broker.cli.output import note

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_signal(signals: list[int], act: Callable[[], object], *, words: str) -> Iterator[None]:
    """While the block runs, Ctrl-C or SIGTERM says ``words`` and calls ``act``, once; its number goes into ``signals``.

    Within a running event loop.
    """
    loop = asyncio.get_running_loop()

    def noticed(number: int) -> None:
        signals.append(number)
        note(words)
        _let_go(loop)
        act()

    for number in _SIGNALS:
        loop.add_signal_handler(number, noticed, number)
    try:
        yield
    finally:
        _let_go(loop)


def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
