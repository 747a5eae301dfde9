"""The client that ``broker connect`` is to the broker: one of the developer's, or one that it makes for itself."""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeVar

from broker.app.heart import Heart
from broker.cli.loopback import PATH
from broker.cli.remote import Registration, RemoteBroker
from broker.cli.session import configured_providers, heart_for_command
from broker.errors import BrokerError, ConfigurationError, Unauthenticated
from broker.settings import Settings
from broker.vault.redis.data_dir import make_private

Result = TypeVar("Result")

NAME: Final = "broker connect"
SCOPES: Final = ("connect", "connections:read")
RETURN_URL: Final = f"http://127.0.0.1{PATH}"
"""Registered without a port: any port of this machine will do (RFC 8252 §7.3)."""


def sign_in(broker: RemoteBroker, settings: Settings, url: str) -> None:
    """Sign in as the configured client, else as our own. If the broker has forgotten our own, once as a new one.

    :param url: where ``broker`` is. A client of our own is remembered for this address, and sent to no other.
    :raises ConfigurationError: half a client is configured, or the broker does not use this machine's store.
    :raises Unauthenticated: the broker does not know the configured client.
    """
    configured = _configured(settings)
    if configured is not None:
        broker.sign_in(configured)
        return
    remembered = _remembered(settings).get(url)
    if remembered is not None:
        try:
            broker.sign_in(remembered)
        except Unauthenticated:
            pass
        else:
            return
    _sign_in_anew(broker, settings, url)


def _sign_in_anew(broker: RemoteBroker, settings: Settings, url: str) -> None:
    """Make a client in this machine's store, sign in as it, and remember it; where that fails it is removed again."""
    if url != settings.public_url:
        # Whoever answers there would get a client of this machine's broker.
        raise _elsewhere(f"{url} is not this machine's broker (BROKER_PUBLIC_URL)")
    made = _in_store(settings, _create)
    try:
        broker.sign_in(made)
    except BrokerError as error:
        _in_store(settings, lambda heart: heart.clients.delete(made.client_id))
        if not isinstance(error, Unauthenticated):
            raise
        raise _elsewhere("the broker has another store than this machine") from None
    _remember(settings, url, made)


def _elsewhere(fault: str) -> ConfigurationError:
    advice = f"of a client of its own (scope {' '.join(SCOPES)!r}, return address {RETURN_URL})"
    return ConfigurationError([f"{fault}: set BROKER_CLIENT_ID and BROKER_CLIENT_SECRET {advice}"])


def _configured(settings: Settings) -> Registration | None:
    if settings.client_id is not None and settings.client_secret is not None:
        return Registration(settings.client_id, settings.client_secret.get_secret_value())
    if settings.client_id is not None or settings.client_secret is not None:
        raise ConfigurationError(["BROKER_CLIENT_ID, BROKER_CLIENT_SECRET: one is of no use without the other"])
    return None


def _place(settings: Settings) -> Path:
    return settings.data_dir / "connect-client.json"


def _remembered(settings: Settings) -> dict[str, Registration]:
    """The clients of our own, each by the address of the broker that it was made for."""
    try:
        kept = json.loads(_place(settings).read_text())
        return {url: Registration(str(one["client_id"]), str(one["client_secret"])) for url, one in kept.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _remember(settings: Settings, url: str, made: Registration) -> None:
    every = {**_remembered(settings), url: made}
    make_private(settings.data_dir)
    # A file of mkstemp is this user's alone from its first moment on.
    descriptor, name = tempfile.mkstemp(dir=settings.data_dir)
    with os.fdopen(descriptor, "w") as file:
        json.dump({url: asdict(one) for url, one in every.items()}, file)
    Path(name).replace(_place(settings))


def _in_store(settings: Settings, work: Callable[[Heart], Awaitable[Result]]) -> Result:
    """What ``work`` answers with the parts of a broker on this machine's store."""

    async def run() -> Result:
        async with heart_for_command(settings, configured_providers(settings)) as heart:
            return await work(heart)

    return asyncio.run(run())


async def _create(heart: Heart) -> Registration:
    client, secret = await heart.clients.create(NAME, scopes=SCOPES, return_urls=(RETURN_URL,))
    return Registration(client.client_id, secret)
