"""Connections that fall due while their provider can't be used by this broker: counted, and now and then logged.

Nothing of them is struck off, for the next broker may be started with the entry mended; until then their callers get no
token, and nobody else sees why.
"""

import math
from typing import Final

import structlog
from prometheus_client import Counter

from broker.clock import Clock
from broker.models.connection import Connection
from broker.providers import Provider, Registry

LOOKED_AT_AGAIN: Final = 3_600_000
"""Milliseconds until a connection is looked at again whose provider is not configured, or with another OAuth app."""
_OUTCOME: Final = "not_configured"
_NO_ENTRY: Final = "-"
"""In the place of a provider's name that is not in the file: a label may have no more values than the file has names.
No entry can be called so."""

log = structlog.get_logger(__name__)


class Configured:
    """Finds what can't be used, and tells of it: once an hour of each provider, however many connections it has."""

    def __init__(self, providers: Registry, due: Counter, clock: Clock) -> None:
        """:param due: what is counted of a chore, by ``provider`` and ``outcome``."""
        self._providers = providers
        self._due = due
        self._clock = clock
        self._told_at: dict[str, int] = {}

    def provider_of(self, connection: Connection) -> Provider | None:
        """The connection's provider; ``None``: it is missing in the file, or its entry lacks something."""
        name = connection.provider
        if name not in self._providers:
            self._note(connection, _NO_ENTRY, "the providers file has no entry for it")
            return None
        provider = self._providers.get(name)
        if not provider.ready:
            self._note(connection, name, f"its entry lacks {', '.join(provider.missing)}")
            return None
        return provider

    def _note(self, connection: Connection, label: str, reason: str) -> None:
        self._due.labels(label, _OUTCOME).inc()
        now = self._clock()
        if now - self._told_at.get(connection.provider, -math.inf) < LOOKED_AT_AGAIN:
            return
        self._told_at[connection.provider] = now
        log.warning("provider.not_configured", provider=connection.provider, connection_id=connection.id, reason=reason)
