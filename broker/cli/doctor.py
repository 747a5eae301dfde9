"""``broker doctor``: says what is wrong with a set-up, and what to do about it."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import typer

from broker.cli import diagnosis
from broker.cli.diagnosis import Check
from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import Json, print_json, printable
from broker.cli.session import configured_providers
from broker.errors import ConfigurationError
from broker.providers import Registry
from broker.settings import load_settings

commands = typer.Typer()

_COLOURS: Final = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


@commands.command()
def doctor(as_json: Json = False) -> None:
    """Check settings, providers, store, keys, clock, port and events sink. Fails if something has to be mended."""
    checks = list(_examine())
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        print_json({"ok": not failed, "checks": [check.model_dump() for check in checks]})
    else:
        _print(checks)
    if failed:
        raise typer.Exit(EXIT_REFUSED)


def _examine() -> Iterator[Check]:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        # Nothing else can be looked at without them.
        yield from diagnosis.of_faults("settings", error)
        return
    yield Check(name="settings", status="ok", message="all of them can be used")
    providers = None
    try:
        providers = configured_providers(settings)
    except ConfigurationError as error:
        yield from diagnosis.of_faults("providers file", error)
    yield diagnosis.of_addresses(settings)
    yield diagnosis.of_data_dir(settings)
    yield diagnosis.of_events_sink(settings)
    yield from asyncio.run(diagnosis.of_store(settings, Registry(()) if providers is None else providers))
    yield diagnosis.of_listening(settings)
    if providers is not None:
        yield from diagnosis.of_providers(settings, providers)


def _print(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.not_set_up:
            continue
        # Colours are left out where no terminal reads.
        typer.secho(f"{check.status:4}", fg=_COLOURS[check.status], nl=False)
        print(f"  {printable(f'{check.name}: {check.message}')}")
        if check.advice:
            print(f"      {printable(check.advice)}")
    not_set_up = [check.not_set_up for check in checks if check.not_set_up]
    if not_set_up:
        print(f"not set up: {', '.join(not_set_up)} (broker providers list says what each needs)")
