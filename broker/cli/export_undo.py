"""Undoing an export that has switched connections off: by itself where no file came of it, or ``export --undo``."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from broker.app.heart import Heart
from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import confirm, note, print_fields, print_json
from broker.cli.session import with_heart
from broker.cli.signals import first_signal
from broker.connections.moving.switching_off import SwitchingOff
from broker.connections.moving.undoing import Undone
from broker.errors import StoreUnavailable


def undo_export(export_id: str, *, yes: bool, as_json: bool) -> None:
    """``broker connections export --undo``."""

    async def look(heart: Heart) -> bool:
        return (await heart.moving.undoing.known(export_id)).outcome in {"left", "done"}

    question = (
        f"Switch on again what {export_id} switched off? If another broker has taken its file in, the two end each"
        " other's connections."
    )
    if with_heart(look):
        confirm(question, yes=yes)

    async def work(heart: Heart) -> Undone:
        return await heart.moving.undoing.undo_when_asked(export_id)

    undone = with_heart(work)
    if as_json:
        print_json({"export": undone.export, "switched_on": undone.switched_on, "left_off": undone.left_off})
    else:
        print_fields({"export": undone.export, "switched on": str(undone.switched_on)})
        _name(undone.left_off)
    if undone.left_off:
        raise typer.Exit(EXIT_REFUSED)


async def undo_broken_off(heart: Heart) -> None:
    """Undo what exports before this one left switched off without a file, and say so.

    :raises StoreUnavailable: not all of it could be done.
    """
    undone, uncertain = await heart.moving.undoing.undo_broken_off()
    for each in undone:
        note(f"{each.export} was broken off: {each.switched_on} connections that it switched off are on again")
        _name(each.left_off)
    for export_id in uncertain:
        note(f"{export_id} was broken off at its very end, and its connections are switched off.")
        note(f"If its file is not there: broker connections export --undo {export_id}")


async def undo_own(heart: Heart, switching_off: SwitchingOff) -> None:
    """Switch on again what was switched off for a file that there is not."""
    await switching_off.settled()
    try:
        undone = await heart.moving.undoing.undo(switching_off.export_id)
    except StoreUnavailable:
        note(f"Not all that was switched off is on again: broker connections export --undo {switching_off.export_id}")
        return
    if undone.switched_on:
        note(f"{undone.switched_on} connections that were switched off are on again")
    _name(undone.left_off)


@contextmanager
def cancelled_by(signals: list[int]) -> Iterator[None]:
    """The first signal ends what the current task does, as an error would, and goes into ``signals``."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no task to cancel")
    with first_signal(signals, task.cancel, words="Ending; what was switched off is switched on again first."):
        yield


def _name(left_off: list[str]) -> None:
    for connection_id in left_off:
        note(f"still switched off: {connection_id}")
