"""What ``broker serve`` says once its workers listen: ready, or why not yet. It asks the broker, as anybody does."""

import time
from collections.abc import Callable
from threading import Thread
from typing import Final

from broker.app.asking import ask
from broker.cli.output import note

_ANSWERS_WITHIN: Final = 10.0
"""Seconds; the broker gives a silent store two, and may just be starting beside others."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0


def greet(address: str, greeting: Callable[[list[str]], str]) -> None:
    """Say on stderr whether the broker at ``address`` is ready; if it isn't, say it again once it is.

    Returns at once: the process that supervises the workers must not wait for any of them.

    :param greeting: makes the line from the reasons why the broker is not ready; none = it is ready.
    """
    Thread(target=_greet, args=(address, greeting), name="greeting", daemon=True).start()


def _greet(address: str, greeting: Callable[[list[str]], str]) -> None:
    said, pause = "", _FIRST_PAUSE
    while True:
        reasons = _reasons_not_ready(address)
        # Another reason than before is worth a line; the same one every few seconds is not.
        line = said if reasons is None else greeting(reasons)
        if line != said:
            note(line)
            said = line
        if reasons == []:
            return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _reasons_not_ready(address: str) -> list[str] | None:
    """Why ``/readyz`` says no; empty = ready, ``None`` = nobody is there: a worker has ended, or all of them do."""
    try:
        answer = ask(address, "/readyz", seconds=_ANSWERS_WITHIN)
    except TimeoutError:
        return [f"it does not answer within {_ANSWERS_WITHIN:.0f} s"]
    if answer is None:
        return None
    status, body = answer
    return [] if status == 200 else [str(reason) for reason in body.get("reasons", ())]
