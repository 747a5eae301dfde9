"""What the running practice provider knows; every endpoint is handed one of these."""

import asyncio
import time
from collections.abc import Callable, Iterable

from broker.sandbox.accounts import Mailboxes
from broker.sandbox.behaviour import Behaviour
from broker.sandbox.clients import Client, Clients
from broker.sandbox.counters import Counters
from broker.sandbox.devices import DEVICE_GRANT, Devices
from broker.sandbox.grants import Clock, Grants
from broker.sandbox.keys import Keys

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT, JWT_BEARER)
"""The grant types of the token endpoint, as metadata and counters name them."""


class Provider:
    """The issuer's name, its clients, its state, and the behaviour in force (replaced as a whole)."""

    def __init__(
        self, *, issuer: str, clients: Iterable[Client], behaviour: Behaviour, clock: Clock = time.time
    ) -> None:
        self.issuer = issuer
        self.clients: Clients = {client.client_id: client for client in clients}
        self.behaviour = behaviour
        self.at_the_start = behaviour
        self.grants = Grants(self.clock)
        self.keys = Keys()
        self.mailboxes = Mailboxes()
        self.counters = Counters(GRANT_TYPES)
        self.devices = Devices(self.clock, early=self.counters.polled_early)
        self.hang_up: Callable[[tuple[str, int]], None] = _nobody
        """Closes the connection that comes from this address and port; whoever listens sets it."""
        self._machine_clock = clock
        self._changed = asyncio.Event()

    @property
    def grant_types(self) -> tuple[str, ...]:
        """Those of :data:`GRANT_TYPES` that it has as things are."""
        return tuple(each for each in GRANT_TYPES if each != DEVICE_GRANT or self.behaviour.device_grant)

    def clock(self) -> float:
        """Seconds since the epoch, as the provider sees it."""
        return self._machine_clock() + self.behaviour.clock_ahead

    def change(self, behaviour: Behaviour) -> None:
        """Behave so from now on."""
        self.behaviour = behaviour
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, fits: Callable[[Behaviour], bool]) -> None:
        """Wait for a behaviour that ``fits``."""
        while not fits(self.behaviour):
            await self._changed.wait()


def _nobody(_client: tuple[str, int]) -> None:
    raise RuntimeError("nobody listens who could hang up")
