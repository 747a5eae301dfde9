"""Machines that are logged in, after their login: seen, logged out, and what nobody uses any more.

A connection that a login made for itself alone (nobody named a subject for it) is there for machines only. With the
last of them it ends, at the provider, too: otherwise every CI job that logs in and out would leave a grant behind that
lives for ever and that nobody sees.
"""

import structlog

from broker.clock import Clock
from broker.connections.lifecycle import Lifecycle
from broker.errors import BrokerError, NotFound
from broker.models.connection import Connection, Status
from broker.models.device import DeviceSession
from broker.models.event import Event
from broker.vault.device_sessions import StoredDeviceSessions
from broker.vault.records import Records

log = structlog.get_logger(__name__)


class DeviceLife:
    """Looks after device sessions."""

    def __init__(self, stored: StoredDeviceSessions, records: Records, lifecycle: Lifecycle, clock: Clock) -> None:
        self._stored = stored
        self._records = records
        self._lifecycle = lifecycle
        self._clock = clock

    async def expect(self, connection_id: str, *, until: int) -> None:
        """A connection will be made for logins alone; it ends if no machine has collected one by ``until`` (ms)."""
        await self._stored.expect(connection_id, until=until)

    async def sessions(self, connection_id: str) -> list[DeviceSession]:
        """The machines that are logged in with the connection, newest first."""
        now = self._clock()
        return [session for session in await self._stored.of(connection_id) if session.expires_at > now]

    async def session(self, connection_id: str, session_id: str) -> DeviceSession:
        """One of them.

        :raises NotFound: there is no such machine.
        """
        for session in await self.sessions(connection_id):
            if session.id == session_id:
                return session
        raise NotFound("no such device session")

    async def end(
        self, session: DeviceSession, *, client_id: str | None, request_id: str | None, event: str = "device.logged_out"
    ) -> bool:
        """Log a machine out: its tokens stop working within seconds. ``False`` if it was logged out already.

        :param client_id: who does it; ``None``: the person, an operator, or time.
        """
        connection = await self._records.read(session.connection_id)
        ended = Event(
            type=event,
            tenant=session.tenant,
            at=self._clock(),
            connection_id=session.connection_id,
            client_id=client_id,
            request_id=request_id,
            data={
                "provider": connection.provider if connection else None,
                "device_session": session.id,
                "device_name": session.device_name,
            },
        )
        return await self._stored.end(session, ended)

    async def discard(self, connection: Connection) -> None:
        """End a connection that was made for a machine which waits no more. Should that fail, it falls due later, if it
        was made for the machine alone."""
        try:
            await self._lifecycle.disconnect(connection, client_id=None, request_id=None)
        except BrokerError as error:
            log.warning("device.not_discarded", connection_id=connection.id, reason=error.detail)

    async def tidy(self, connection_id: str) -> int | None:
        """End what is over; answers when to look again (ms), ``None``: not at all.

        :raises BrokerError: the connection can't be disconnected now.
        """
        connection, now = await self._records.read(connection_id), self._clock()
        if connection is None:
            await self._stored.forget(connection_id)
            return None
        found = await self._stored.of(connection_id)
        for session in found:
            if session.expires_at <= now:
                await self.end(session, client_id=None, request_id=None, event="device.expired")
        living = [session.expires_at for session in found if session.expires_at > now]
        if living:
            return min(living)
        if connection.status is not Status.REVOKED and await self._stored.owned(connection_id):
            await self._lifecycle.disconnect(connection, client_id=None, request_id=None)
        return None
