"""What the commands of a machine with no screen share: the broker's address, their client, the logins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.cli.credentials import Credentials, credentials_of_this_user
from broker.cli.machine import Machine
from broker.cli.remote import Registration, RemoteBroker, connected
from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings, read_environment


@dataclass(frozen=True, slots=True)
class Headless:
    """A machine that talks to one broker."""

    settings: Settings
    broker: RemoteBroker
    configured: Registration | None
    credentials: Credentials
    machine: Machine


@contextmanager
def headless() -> Iterator[Headless]:
    """What is configured: ``BROKER_URL`` (without it this machine's broker), and as which client.

    :raises ConfigurationError: the settings can't be used.
    """
    settings = load_settings()
    check_where_secrets_go()
    url = settings.url or settings.public_url
    configured, credentials = configured_client(settings), credentials_of_this_user()
    with connected(url) as http:
        broker = RemoteBroker(http, url)
        yield Headless(settings, broker, configured, credentials, Machine(broker, credentials, configured))


def configured_client(settings: Settings) -> Registration | None:
    """The client that is configured; without a secret it is a public one.

    :raises ConfigurationError: there is a secret, and nobody whose it is.
    """
    secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
    if settings.client_id is not None:
        return Registration(settings.client_id, secret)
    if secret:
        raise ConfigurationError(["BROKER_CLIENT_SECRET: is of no use without BROKER_CLIENT_ID"])
    return None


def check_where_secrets_go() -> None:
    """Return unless a folder's ``.env`` says where a secret of the environment goes: it may be somebody else's folder.

    :raises ConfigurationError: it does.
    """
    secret = {"BROKER_CLIENT_SECRET", "BROKER_CLIENT_SECRET_FILE"}
    address = {"BROKER_URL", "BROKER_PUBLIC_URL"}
    own = {name for name, text in os.environ.items() if text}
    if not secret & own or "BROKER_URL" in own:
        return
    for name in sorted(address & set(read_environment({}, Path(".env"))) - own):
        fault = f"{name}: the .env of this folder sets it, and BROKER_CLIENT_SECRET comes from the environment"
        raise ConfigurationError([f"{fault}; set BROKER_URL there, too, so that the secret goes where you mean"])
