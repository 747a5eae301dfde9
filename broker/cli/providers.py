"""``broker providers``: what can be connected, and what is missing where something can't."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import BaseModel, Field

from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import Json, print_json, print_table
from broker.cli.session import configured_providers
from broker.clock import system_clock
from broker.downstream.api.views import ProviderList, ProviderView
from broker.errors import BrokerError, ProviderUnavailable
from broker.providers import Provider
from broker.settings import Settings, load_settings
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream

commands = typer.Typer(
    name="providers", help="Look at the providers of providers.yaml.", no_args_is_help=True, rich_markup_mode=None
)


class CheckedProvider(BaseModel):
    """Whether a provider can be used now. ``problem``: why not, in a sentence."""

    name: str
    usable: bool
    problem: str | None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    to_be_mended: bool = Field(default=False, exclude=True)
    """Whether waiting won't help: the provider could be asked, and what it answered can't be used."""


class CheckedProviders(BaseModel):
    """All providers that were checked."""

    items: list[CheckedProvider]


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
    as_json: Json = False,
) -> None:
    """Check providers.yaml, and ask the issuers for the endpoints that it leaves out.

    Fails if a provider that is ready, or one that is named here, can't be used.
    """
    settings = load_settings()
    registry = configured_providers(settings)
    wanted = [registry.get(name) for name in names] if names else list(registry)
    checked = asyncio.run(ask_issuers(settings, wanted))
    if as_json:
        print_json(CheckedProviders(items=checked))
    else:
        rows = [(found.name, "usable" if found.usable else found.problem, found.token_endpoint) for found in checked]
        print_table(["PROVIDER", "STATE", "TOKEN ENDPOINT"], rows)
    expected = {provider.name for provider in wanted if names or provider.ready}
    if any(found.name in expected and not found.usable for found in checked):
        raise typer.Exit(EXIT_REFUSED)


def lacks(provider: Provider) -> str | None:
    """What has to be set before ``provider`` can be used; ``None``: nothing."""
    return None if provider.ready else f"lacks {', '.join(provider.missing_variables or provider.missing)}"


async def ask_issuers(settings: Settings, providers: Sequence[Provider]) -> list[CheckedProvider]:
    """Check each provider, in their order; each issuer is asked within its provider's own timeout."""
    async with Upstream(Egress(allow=settings.egress_allow), system_clock) as upstream:
        return list(await asyncio.gather(*(_check_one(upstream, provider) for provider in providers)))


async def _check_one(upstream: Upstream, provider: Provider) -> CheckedProvider:
    if not provider.ready:
        return CheckedProvider(name=provider.name, usable=False, problem=lacks(provider))
    defaults = {name: rule.default for name, rule in provider.parameters.items() if rule.default is not None}
    if len(defaults) < len(provider.parameters):
        # Each connection says where it is; here is none.
        return CheckedProvider(name=provider.name, usable=True, problem=None)
    try:
        endpoints = await upstream.endpoints(provider, defaults)
    except BrokerError as error:
        return CheckedProvider(
            name=provider.name,
            usable=False,
            problem=error.detail,
            to_be_mended=not isinstance(error, ProviderUnavailable),
        )
    return CheckedProvider(
        name=provider.name,
        usable=True,
        problem=None,
        authorization_endpoint=endpoints.authorization,
        token_endpoint=endpoints.token.url if endpoints.token else None,
    )
