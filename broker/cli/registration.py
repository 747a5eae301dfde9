"""The client that ``broker connect`` is to the broker: one of the developer's, or one that it makes for itself."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from broker.app.heart import Heart
from broker.cli.loopback import PATH
from broker.cli.remote import Registration, RemoteBroker
from broker.cli.session import configured_providers, heart_for_command
from broker.errors import ConfigurationError, Unauthenticated
from broker.settings import Settings
from broker.vault.redis.data_dir import make_private

NAME: Final = "broker connect"
SCOPES: Final = ("connect", "connections:read")
RETURN_URL: Final = f"http://127.0.0.1{PATH}"
"""Registered without a port: any port of this machine will do (RFC 8252 §7.3)."""


def sign_in(broker: RemoteBroker, settings: Settings) -> None:
    """Sign in as the configured client, else as our own. If the broker has forgotten our own, once as a new one.

    :raises ConfigurationError: half a client is configured, or the broker does not use this machine's store.
    :raises Unauthenticated: the broker does not know the configured client.
    """
    configured = _configured(settings)
    if configured is not None:
        broker.sign_in(configured)
        return
    remembered = _remembered(settings)
    if remembered is not None:
        try:
            broker.sign_in(remembered)
        except Unauthenticated:
            pass
        else:
            return
    try:
        broker.sign_in(_register(settings))
    except Unauthenticated:
        fault = "the broker has another store than this machine: set BROKER_CLIENT_ID and BROKER_CLIENT_SECRET"
        advice = f"of a client of its own (scope {' '.join(SCOPES)!r}, return address {RETURN_URL})"
        raise ConfigurationError([f"{fault} {advice}"]) from None


def _configured(settings: Settings) -> Registration | None:
    if settings.client_id is not None and settings.client_secret is not None:
        return Registration(settings.client_id, settings.client_secret.get_secret_value())
    if settings.client_id is not None or settings.client_secret is not None:
        raise ConfigurationError(["BROKER_CLIENT_ID, BROKER_CLIENT_SECRET: one is of no use without the other"])
    return None


def _place(settings: Settings) -> Path:
    return settings.data_dir / "connect-client.json"


def _remembered(settings: Settings) -> Registration | None:
    try:
        kept = json.loads(_place(settings).read_text())
        return Registration(str(kept["client_id"]), str(kept["client_secret"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _register(settings: Settings) -> Registration:
    """Make a client in the store, and remember it."""

    async def create() -> Registration:
        async with heart_for_command(settings, configured_providers(settings)) as heart:
            return await _create(heart)

    made = asyncio.run(create())
    make_private(settings.data_dir)
    # A file of mkstemp is this user's alone from its first moment on.
    descriptor, name = tempfile.mkstemp(dir=settings.data_dir)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"client_id": made.client_id, "client_secret": made.client_secret}, file)
    Path(name).replace(_place(settings))
    return made


async def _create(heart: Heart) -> Registration:
    client, secret = await heart.clients.create(NAME, scopes=SCOPES, return_urls=(RETURN_URL,))
    return Registration(client.client_id, secret)
