"""``broker serve``: run the broker until a signal ends it."""

import os
from functools import partial
from typing import Annotated

import typer

from broker.app.supervisor import serve as supervise
from broker.cli.greeting import greet
from broker.providers import Registry, load_providers
from broker.settings import Settings, load_settings, read_environment

commands = typer.Typer()


@commands.command()
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: BROKER_WORKERS, else 1.")
    ] = None,
) -> None:
    """Run the broker until a signal ends it."""
    settings = load_settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    # Every worker reads the file for itself. Its faults are said once, and before anything is started.
    providers = load_providers(settings.providers_file, read_environment())
    greeting = partial(_greeting, settings, providers)
    raise typer.Exit(supervise(settings, environ=os.environ, on_ready=partial(greet, greeting=greeting)))


def _greeting(settings: Settings, providers: Registry, not_ready: list[str]) -> str:
    count = f"{settings.workers} worker{'s' * (settings.workers > 1)}"
    store = f"embedded store in {settings.data_dir}" if settings.redis_url is None else "external store"
    if not_ready:
        why = "; ".join(not_ready)
        return f"broker listening at {settings.public_url} ({count}, {store}), not ready: {why}"
    ready = [provider.name for provider in providers if provider.ready]
    usable = f"providers ready: {', '.join(ready)}" if ready else "no provider is ready"
    lacking = len(providers) - len(ready)
    hint = f"; {lacking} lacking settings, see: broker providers list" if lacking else ""
    return f"broker ready at {settings.public_url} ({count}, {store}); {usable}{hint}"
