"""``broker providers``: what can be connected, what is missing where something can't, and entries to start from."""

import asyncio
from typing import Annotated

import typer

from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import Json, note, print_json, print_table
from broker.cli.providers_add import add_entry, say_what_follows
from broker.cli.providers_check import (
    CheckedProviders,
    ask_issuers,
    lacks,
    of_the_file,
    print_details,
    print_file_findings,
    print_overview,
    with_findings,
)
from broker.cli.session import configured_providers
from broker.downstream.api.views import ProviderList, ProviderView
from broker.providers.loader import read_text
from broker.providers.written import as_written
from broker.settings import load_settings

commands = typer.Typer(
    name="providers", help="Look at the providers of providers.yaml.", no_args_is_help=True, rich_markup_mode=None
)


@commands.command("list")
def list_(as_json: Json = False) -> None:
    """List the providers: which are ready, and what the others lack."""
    settings = load_settings()
    providers = configured_providers(settings)
    shown = [ProviderView.of(provider, settings.public_url) for provider in providers]
    if as_json:
        print_json(ProviderList(items=shown))
        return
    rows = [
        (view.name, view.display_name, view.type, lacks(provider) or "ready", view.redirect_uri)
        for view, provider in zip(shown, providers, strict=True)
    ]
    print_table(["PROVIDER", "NAME", "TYPE", "STATE", "REDIRECT URI TO REGISTER"], rows)


@commands.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PROVIDER]…", help="Default: all.")] = None,
    details: Annotated[bool, typer.Option("--details", help="Say all of each, as of those that are named.")] = False,
    as_json: Json = False,
) -> None:
    """Check providers.yaml, and ask the issuers for the endpoints that it leaves out.

    Shows what is missing, what to know, and which values nobody could verify. Fails if a provider that is ready, or one
    that is named here, can't be used, or if something has to be mended.
    """
    settings = load_settings()
    registry = configured_providers(settings)
    wanted = [registry.get(name) for name in names] if names else list(registry)
    written = as_written(read_text(settings.providers_file))
    asked = asyncio.run(ask_issuers(settings, wanted))
    checked = [with_findings(found, each, written, settings) for found, each in zip(asked, wanted, strict=True)]
    of_file = of_the_file(written)
    if as_json:
        print_json(CheckedProviders(items=checked, findings=of_file))
    elif names or details:
        print_details(checked)
        print_file_findings(of_file)
    else:
        print_overview(checked)
        print_file_findings(of_file)
        note("A provider's name, or --details, says which they are, and what to register.")
    expected = {provider.name for provider in wanted if names or provider.ready}
    unusable = any(found.name in expected and not found.usable for found in checked)
    if unusable or of_file or any(found.problems for found in checked):
        raise typer.Exit(EXIT_REFUSED)


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="An entry of the shipped file.")],
    rename: Annotated[str | None, typer.Option("--as", metavar="OTHER", help="What to call it.")] = None,
) -> None:
    """Copy an entry of the shipped file, with its comments, into the configured one, which is made if there is none."""
    settings = load_settings()
    say_what_follows(add_entry(settings, name, rename or name), settings)
