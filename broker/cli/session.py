"""Settings, providers and the store for the length of one command."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final, TypeVar

from broker.app.heart import Heart, build_heart
from broker.observe import logs
from broker.providers import Registry, load_providers
from broker.settings import Settings, load_settings, read_environment
from broker.vault.redis.embedded import store_for_command

Result = TypeVar("Result")

_WORK_ENDS_WITHIN: Final = 25.0
"""Seconds that a refresh under way gets to finish: its new refresh token must not be lost."""


def configured_providers(settings: Settings) -> Registry:
    """The providers of the configured file.

    :raises ConfigurationError: all its faults.
    """
    return load_providers(settings.providers_file, read_environment())


def with_heart(work: Callable[[Heart], Awaitable[Result]], *, seals: bool = False) -> Result:
    """What ``work`` answers when it is given the configured broker's parts.

    :param seals: it may store secrets: a rotation of the keys waits for it, as for a worker.
    """

    async def run() -> Result:
        settings = load_settings()
        async with (
            heart_for_command(settings, configured_providers(settings)) as heart,
            heart.replicas.counted() if seals else nullcontext(),
        ):
            return await work(heart)

    return asyncio.run(run())


@asynccontextmanager
async def heart_for_command(settings: Settings, providers: Registry) -> AsyncIterator[Heart]:
    """The broker's parts on the configured store: an embedded one is used where it runs, or started for this.

    :raises ConfigurationError: the keys or the data directory can't be used.
    :raises StoreUnavailable: the embedded store doesn't come up.
    """
    # What a command has to say it says itself.
    logs.configure("WARNING", settings.log_format)
    # This makes the keys where there are none yet; they must exist before the store that is written with them.
    heart = build_heart(settings, providers, for_command=True)
    with store_for_command(settings.data_dir) if settings.redis_url is None else nullcontext():
        try:
            yield heart
        finally:
            await heart.aclose(work_ends_within=_WORK_ENDS_WITHIN)
