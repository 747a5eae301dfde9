"""Named steps of what must survive being cut off, so that the fault runs can cut it exactly there.

``await reached("refresh.answered")`` does nothing, unless the process was started for a fault run: then it waits at
that step for as long as the run wants, and is killed, stopped or let go there. What holds it stands beside the tests
and is in no build of the product; a broker that is asked for it and lacks it refuses to start.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from broker.errors import ConfigurationError

VARIABLE: Final = "BROKER_FAULT_RUN"
"""Names, in the environment of a fault run, the folder through which the run talks to the process."""

_HOLDER: Final = "tests.chaos.holder"

Hold = Callable[[str], Awaitable[None]]

_hold: Hold | None = None


async def reached(step: str) -> None:
    """Say that ``step`` is reached, and go on when the fault run, if this is one, allows it."""
    if _hold is not None:
        await _hold(step)


def prepare(environ: Mapping[str, str], *, public_url: str) -> None:
    """Have steps held if ``environ`` asks for it.

    :raises ConfigurationError: it does, and this is a build of the product, which has nothing to hold steps with, or a
        broker that others than this machine reach.
    """
    global _hold  # noqa: PLW0603 - one per process, set before anything runs
    folder = environ.get(VARIABLE)
    if not folder:
        return
    if public_url.startswith("https://"):
        raise ConfigurationError([f"{VARIABLE}: refused, because BROKER_PUBLIC_URL is not this machine's own"])
    try:
        holder = importlib.import_module(_HOLDER)
    except ModuleNotFoundError:
        raise ConfigurationError([f"{VARIABLE}: fault runs exist only in a source checkout, not in a build"]) from None
    _hold = holder.holding(folder)
