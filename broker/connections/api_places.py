"""Where the APIs of connections are: what a request is judged by before a credential is taken out for it.

Read once and remembered, so that judging a request costs the store no question beyond the release. A connection's
tenant and provider never change, and its parameters only with its grant; the release answers for that grant or not at
all (:class:`~broker.connections.tokens.Moved`), so what is remembered can be old, but never used where it is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from broker.models.access import Reach
from broker.models.connection import Connection, Served
from broker.providers import Provider, Registry
from broker.upstream.facade import Upstream

_REMEMBERED: Final = 10_000
"""Connections, after which those are forgotten that were noted first."""


@dataclass(frozen=True, slots=True)
class ApiPlace:
    """Where one connection's API is, by the grant that it had."""

    connection_id: str
    tenant: str
    provider: Provider
    parameters: Mapping[str, str]
    grant_id: str
    base: str
    """The address, without a slash at its end."""
    trusted: bool
    """Whether the operator wrote its whole host."""


class ApiPlaces:
    """Finds and remembers places."""

    def __init__(self, upstream: Upstream, providers: Registry, *, remembered: int = _REMEMBERED) -> None:
        """:param remembered: how many connections."""
        self._upstream = upstream
        self._providers = providers
        self._at_most = remembered
        self._places: dict[str, ApiPlace] = {}

    def known(self, connection_id: str, reach: Reach) -> ApiPlace | None:
        """The place as it is remembered, for who can touch the connection; it may have moved since."""
        place = self._places.get(connection_id)
        if place is None or not (reach.covers(place.tenant, place.provider.name) and reach.leads_to(connection_id)):
            return None
        return place

    def of(self, connection: Connection | Served) -> ApiPlace:
        """The place of a connection that was read, or released, just now.

        :raises Conflict: its provider has no API.
        :raises NotConfigured: the providers file lacks its provider.
        """
        place = self._places.get(connection.id)
        if place is not None and place.grant_id == connection.grant_id and place.parameters == connection.parameters:
            return place
        provider = self._providers.of_connection(connection.provider)
        api = self._upstream.api(provider, connection.parameters)
        place = ApiPlace(
            connection.id,
            connection.tenant,
            provider,
            connection.parameters,
            connection.grant_id,
            api.url,
            api.trusted,
        )
        if connection.id not in self._places and len(self._places) >= self._at_most:
            del self._places[next(iter(self._places))]
        self._places[connection.id] = place
        return place
