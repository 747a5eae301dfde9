"""The clients that commands of a developer are to the broker: one that is configured, or one made for the purpose.

A client of our own is made in this machine's store, for the broker of this machine and no other, and remembered for
its address.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from broker.app.heart import Heart
from broker.cli.headless import check_where_secrets_go, configured_client
from broker.cli.loopback import PATH
from broker.cli.remote import Registration, RemoteBroker
from broker.cli.session import heart_for_command
from broker.errors import ConfigurationError, NotFound, Unauthenticated
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.redis.data_dir import make_private
from broker.vault.redis.embedded import running

Result = TypeVar("Result")

RETURN_URL: Final = f"http://127.0.0.1{PATH}"
"""Registered without a port: any port of this machine will do (RFC 8252 §7.3)."""


_ITS_OWN: Final = "the broker's settings: in its folder, or with its BROKER_DATA_DIR or BROKER_REDIS_URL"


@dataclass(frozen=True, slots=True)
class OwnClient:
    """A client that a command makes for itself."""

    name: str
    file: str
    """In ``DATA_DIR``: where it is remembered."""
    scopes: tuple[str, ...]
    advice: str
    """What to do where it can't be made."""
    return_urls: tuple[str, ...] = ()
    device: bool = False
    """It logs machines in, and is public."""

    def remembered(self, settings: Settings, url: str) -> Registration | None:
        """The one that was made for the broker at ``url``."""
        return self._every(settings).get(url)

    def use(self, settings: Settings, url: str, attempt: Callable[[Registration], Result]) -> Result:
        """What ``attempt`` answers with the remembered one; if the broker has forgotten that, with a new one.

        :param url: where the broker is. A client is remembered for this address, and sent to no other.
        :raises ConfigurationError: the broker there does not use this machine's store.
        """
        remembered = self.remembered(settings, url)
        if remembered is not None:
            with suppress(Unauthenticated):
                return attempt(remembered)
        result = self._use_new(settings, url, attempt)
        if remembered is not None:
            with suppress(NotFound):
                _in_store(settings, lambda heart: heart.clients.delete(remembered.client_id))
        return result

    def _use_new(self, settings: Settings, url: str, attempt: Callable[[Registration], Result]) -> Result:
        """Make one in this machine's store, and remember it; where ``attempt`` fails it is removed again."""
        if url != settings.public_url:
            # Whoever answers there would get a client of this machine's broker.
            raise self._elsewhere(f"{url} is not this machine's broker (BROKER_PUBLIC_URL)")
        if settings.redis_url is None and not running(settings.data_dir):
            # One that is started for us alone is not the broker's, and would leave keys behind where nobody needs any.
            raise self._elsewhere(f"the broker at {url} doesn't keep its store in {settings.data_dir} of this machine")
        made = _in_store(settings, self._create)
        try:
            result = attempt(made)
        except BaseException as error:
            _in_store(settings, lambda heart: heart.clients.delete(made.client_id))
            if not isinstance(error, Unauthenticated):
                raise
            raise self._elsewhere(f"the broker at {url} has another store than this machine") from None
        self._remember(settings, url, made)
        return result

    async def _create(self, heart: Heart) -> Registration:
        client, secret = await heart.clients.create(
            self.name, scopes=self.scopes, return_urls=self.return_urls, device=self.device, public=self.device
        )
        return Registration(client.client_id, secret)

    def _elsewhere(self, fault: str) -> ConfigurationError:
        return ConfigurationError(
            [f"{fault}: {self.advice}; or, on the broker's own machine, run this with {_ITS_OWN}"]
        )

    def _every(self, settings: Settings) -> dict[str, Registration]:
        """Those that were made, each by the address of the broker that it was made for."""
        try:
            kept = json.loads((settings.data_dir / self.file).read_text())
            return {url: Registration(str(one["client_id"]), str(one["client_secret"])) for url, one in kept.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _remember(self, settings: Settings, url: str, made: Registration) -> None:
        every = {**self._every(settings), url: made}
        make_private(settings.data_dir)
        # A file of mkstemp is this user's alone from its first moment on.
        descriptor, name = tempfile.mkstemp(dir=settings.data_dir)
        with os.fdopen(descriptor, "w") as file:
            json.dump({url: asdict(one) for url, one in every.items()}, file)
        Path(name).replace(settings.data_dir / self.file)


_CONNECT_SCOPES: Final = ("connect", "connections:read", "tokens:read")
CONNECT: Final = OwnClient(
    name="broker connect",
    file="connect-client.json",
    scopes=_CONNECT_SCOPES,
    return_urls=(RETURN_URL,),
    advice="set BROKER_CLIENT_ID and BROKER_CLIENT_SECRET "
    f"of a client of its own (scope {' '.join(_CONNECT_SCOPES)!r}, return address {RETURN_URL})",
)
"""Connects accounts of whoever sits at this machine, and fetches their tokens."""

LOGIN: Final = OwnClient(
    name="broker login",
    file="login-client.json",
    scopes=("tokens:read", "connections:read"),
    device=True,
    advice="set BROKER_CLIENT_ID to the client that your operator made for machines "
    "(broker clients create machines --device --public --scope 'tokens:read connections:read')",
)
"""Logs this machine in."""


def sign_in(broker: RemoteBroker, settings: Settings, url: str) -> None:
    """Sign in as the configured client, else as our own.

    :param url: where ``broker`` is.
    :raises ConfigurationError: half a client is configured, or the broker does not use this machine's store.
    :raises Unauthenticated: the broker does not know the configured client.
    """
    configured = configured_client(settings)
    if configured is None:
        CONNECT.use(settings, url, lambda client: _sign_in_fully(broker, client))
    elif configured.client_secret:
        check_where_secrets_go()
        broker.sign_in(configured)
    else:
        raise ConfigurationError(["BROKER_CLIENT_ID: is of no use here without BROKER_CLIENT_SECRET"])


def _sign_in_fully(broker: RemoteBroker, client: Registration) -> None:
    """Sign in as our own client, if it can do what one that is made now can.

    :raises Unauthenticated: the broker does not know it, or a previous version made it, with fewer scopes.
    """
    if not broker.sign_in(client).issuperset(_CONNECT_SCOPES):
        raise Unauthenticated("the remembered client lacks a scope")


def _in_store(settings: Settings, work: Callable[[Heart], Awaitable[Result]]) -> Result:
    """What ``work`` answers with the parts of a broker on this machine's store."""

    async def run() -> Result:
        # Which providers there are makes no difference to a client, and their file may lie elsewhere.
        async with heart_for_command(settings, Registry(())) as heart:
            return await work(heart)

    return asyncio.run(run())
