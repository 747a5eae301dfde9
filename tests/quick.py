"""``python -m tests.quick serve``: the real broker, with shorter pauses where a test could only sit them out.

What it does is what ``broker serve`` does. How long it rests between two looks at what is due, how often a code of its
own may be asked about and how often it says that it lives are no part of what is tested with it.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from starlette.types import ASGIApp

from broker.app import composition, supervisor
from broker.background.chores import chores
from broker.background.loop import Chore
from broker.cli.main import main
from broker.settings import Settings

INTERVAL = 1
"""Seconds between two polls with a code of its own; answers say it in whole seconds."""

_REST = 0.2
"""Seconds between two looks at what is due, and between two signs of life."""


def create_app(settings: Settings) -> ASGIApp:
    """The broker's app; for the lifetime of its process the pauses are short."""
    for name, value in {
        "broker.connections.device_request.INTERVAL": INTERVAL,
        "broker.vault.replicas.BEAT_EVERY": _REST,
        "broker.app.composition.chores": partial(_busy, chores),
    }.items():
        patch(name, value).start()
    return composition.create_app(settings)


def _busy(make: Callable[..., list[Chore]], *parts: Any) -> list[Chore]:
    return [replace(chore, rest_when_idle=_REST, rest_when_busy=_REST) for chore in make(*parts)]


if __name__ == "__main__":
    with patch("broker.cli.serve.supervise", partial(supervisor.serve, app="tests.quick:create_app")):
        main()
