"""What the running practice provider knows; every endpoint is handed one of these."""

import time
from collections.abc import Iterable

from broker.sandbox.accounts import Mailboxes
from broker.sandbox.behaviour import Behaviour
from broker.sandbox.clients import Client, Clients
from broker.sandbox.counters import Counters
from broker.sandbox.grants import Clock, Grants

GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
"""The grant types of the token endpoint, as metadata and counters name them."""


class Provider:
    """The issuer's name, its clients, its state, and the behaviour in force (replaced as a whole)."""

    def __init__(
        self, *, issuer: str, clients: Iterable[Client], behaviour: Behaviour, clock: Clock = time.time
    ) -> None:
        self.issuer = issuer
        self.clients: Clients = {client.client_id: client for client in clients}
        self.behaviour = behaviour
        self.clock = clock
        self.grants = Grants(clock)
        self.mailboxes = Mailboxes()
        self.counters = Counters(GRANT_TYPES)
