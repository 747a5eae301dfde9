"""Machines that are logged in, as they are shown."""

from typing import Self

from broker.clock import rfc3339
from broker.http.described import Described, Instant
from broker.models.device import DeviceSession


class DeviceSessionView(Described):
    """A machine that is logged in with a connection."""

    id: str
    connection_id: str
    client_id: str
    """The client that it logged in through."""
    device_name: str | None
    """How the machine calls itself."""
    address: str
    """Where it logged in from."""
    scope: str
    """Client scopes of its broker tokens, separated by spaces."""
    created_at: Instant | None
    last_used_at: Instant | None
    """When it last renewed its tokens, which it does every quarter of an hour while it works."""
    expires_at: Instant | None
    """When it ends by itself, unless it is used before."""

    @classmethod
    def of(cls, session: DeviceSession) -> Self:
        """The view of ``session``."""
        return cls(
            id=session.id,
            connection_id=session.connection_id,
            client_id=session.client_id,
            device_name=session.device_name,
            address=session.address,
            scope=" ".join(session.scopes),
            created_at=rfc3339(session.created_at),
            last_used_at=rfc3339(session.last_used_at),
            expires_at=rfc3339(session.expires_at),
        )


class DeviceSessionList(Described):
    """All machines that are logged in with a connection, newest first."""

    items: list[DeviceSessionView]
    next_cursor: str | None = None


class EndedDeviceSession(Described):
    """A machine that was logged out."""

    id: str
    status: str
