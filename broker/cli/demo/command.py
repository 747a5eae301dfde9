"""``run``: see the story told, or stay up to click through it. Whatever happens, nothing is left behind."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from broker.cli.demo.app import APP_NAME, WORKER_NAME
from broker.cli.demo.narration import Narrator
from broker.cli.demo.processes import ProcessFailed
from broker.cli.demo.scene import Scene, StepFailed
from broker.cli.demo.stage import Stage
from broker.cli.demo.story import BEGINNING, STORY, play

_FAILED: Final = 1
_INTERRUPTED: Final = 128 + signal.SIGINT
_LOOK_SECONDS: Final = 0.2

_PICKED: Final = """ | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')"""
_GUIDE: Final = """\
BROKER={broker}; AT=$BROKER/oauth/token

# as the app, which connects accounts
APP=$(curl -s -u {app.client_id}:{app.client_secret} -d grant_type=client_credentials $AT{picked}
curl -sw '\\n' -H "Authorization: Bearer $APP" $BROKER/v1/connections
CON=$(curl -s -H "Authorization: Bearer $APP" $BROKER/v1/connections | grep -o 'con_[A-Za-z0-9]*' | head -1)

# as the worker, which gets tokens and calls the provider
WORKER=$(curl -s -u {worker.client_id}:{worker.client_secret} -d grant_type=client_credentials $AT{picked}
TOKEN=$(curl -s -X POST -H "Authorization: Bearer $WORKER" $BROKER/v1/connections/$CON/token{picked}
curl -sw '\\n' -H "Authorization: Bearer $TOKEN" {provider}/api/messages

# as the app again: what happened, and the end
curl -sw '\\n' -H "Authorization: Bearer $APP" $BROKER/v1/connections/$CON/events
curl -sw '\\n' -X DELETE -H "Authorization: Bearer $APP" $BROKER/v1/connections/$CON
"""


def run(*, once: bool) -> int:
    """Tell the story; with ``once`` to its end, else up to where a person takes over, until Ctrl-C.

    :returns: the process's exit code: 0, or 1 if something is not as it is told.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that can't show an arrow shows a question mark instead of a traceback.
        sys.stdout.reconfigure(errors="replace")
    narrator = Narrator()
    began = time.monotonic()
    try:
        with _ending_on_signals(), Stage() as stage:
            try:
                return _tell(stage, narrator, began, once=once)
            except (StepFailed, ProcessFailed) as error:
                narrator.failure(str(error), stage.logs())
                return _FAILED
    except KeyboardInterrupt:
        narrator.say("\nStopped. Every process has ended, and nothing was left behind.")
        return _INTERRUPTED if once else 0


def _tell(stage: Stage, narrator: Narrator, began: float, *, once: bool) -> int:
    narrator.title("broker demo", "an account is connected, used, refreshed and disconnected, on this machine alone")
    scene = Scene(stage, narrator)
    play(BEGINNING, scene)
    if not once:
        _guide(stage, narrator)
        _watch(stage, narrator)
    play(STORY, scene)
    took = time.monotonic() - began
    narrator.summary(f"The whole story in {took:.1f} s: {narrator.claims} claims were checked, and all of them hold.")
    return 0


def _guide(stage: Stage, narrator: Narrator) -> None:
    narrator.summary(f"Your turn: open {stage.app_url} and connect a mailbox. Ctrl-C ends everything.")
    narrator.say("What the app does will be shown here. Once a mailbox is connected, try the same with curl:\n")
    # These secrets die with the demo; everything else is shown shortened.
    parties = {"app": stage.registration(APP_NAME), "worker": stage.registration(WORKER_NAME)}
    narrator.copyable(_GUIDE.format(broker=stage.broker_url, provider=stage.provider_url, picked=_PICKED, **parties))


def _watch(stage: Stage, narrator: Narrator) -> NoReturn:
    """Tell what the app does, until a signal ends it.

    :raises ProcessFailed: a program has ended.
    """
    while True:
        for exchange in stage.trace.new():
            narrator.glimpse(exchange)
        stage.check()
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as an exception does, so that everything is cleaned up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
