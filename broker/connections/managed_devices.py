"""The machines of a person who approved one: by the secret in the address of a page of their own, and nothing else.

Whoever has that address can see the machine and log it out. It gives no access to anything.
"""

import hmac
from typing import Final

from broker.clock import Clock
from broker.connections.device_life import DeviceLife
from broker.errors import NotFound
from broker.models.device import DeviceAuthorization, DeviceSession, DeviceStatus
from broker.models.ids import digest, is_id, new_secret
from broker.vault.device_authorizations import StoredDeviceAuthorizations

_NOBODY: Final = "no machine is logged in by this page"


class ManagedDevices:
    """What a person sees of a machine that they approved, and how they end its login."""

    def __init__(self, stored: StoredDeviceAuthorizations, life: DeviceLife, clock: Clock) -> None:
        self._stored = stored
        self._life = life
        self._clock = clock

    async def session(self, handle: str) -> DeviceSession | None:
        """The machine that a person's own page is about; ``None``: it hasn't collected its login yet.

        :raises NotFound: it was logged out, or there never was one.
        """
        connection_id, authorization_id = _owners_of(handle)
        presented = digest(handle)
        for session in await self._life.sessions(connection_id):
            if hmac.compare_digest(session.handle_digest, presented):
                return session
        if await self._uncollected(authorization_id, presented):
            return None
        raise NotFound(_NOBODY)

    async def end(self, handle: str) -> None:
        """Log the machine out that a person's own page is about; or let it collect no login, if it hasn't yet.

        :raises NotFound: there is none.
        """
        session = await self.session(handle)
        if session is not None:
            await self._life.end(session, client_id=None, request_id=None)
            return
        authorization = await self._uncollected(_owners_of(handle)[1], digest(handle))
        taken_back = authorization is not None and await self._stored.step(
            authorization,
            now=self._clock(),
            among=[DeviceStatus.APPROVED],
            change={"status": DeviceStatus.DENIED, "reason": "the person took it back"},
        )
        if authorization is None or not taken_back:
            # Collected at this very moment: the page shows it when it is loaded again.
            raise NotFound(_NOBODY)
        if authorization.owns_connection:
            await self._life.expect(authorization.connection_id, until=self._clock())

    async def _uncollected(self, authorization_id: str, handle_digest: str) -> DeviceAuthorization | None:
        """The attempt of a page, if its machine hasn't collected the login yet."""
        authorization = await self._stored.read(authorization_id)
        if authorization is None or authorization.status is not DeviceStatus.APPROVED:
            return None
        return authorization if hmac.compare_digest(authorization.handle_digest, handle_digest) else None


def new_handle(authorization: DeviceAuthorization) -> str:
    """A secret that says where its machine is found: in the attempt, and beside the connection once it is logged in."""
    connection_id, authorization_id = authorization.connection_id, authorization.id
    return f"dh_{connection_id.partition('_')[2]}_{authorization_id.partition('_')[2]}_{new_secret()}"


def _owners_of(handle: str) -> tuple[str, str]:
    """The ids of the connection and of the attempt that a handle says.

    :raises NotFound: it is none by its shape.
    """
    parts = handle.split("_")
    ids = (f"con_{parts[1]}", f"da_{parts[2]}") if len(parts) == 4 and parts[0] == "dh" else ("", "")
    if not (is_id("con", ids[0]) and is_id("da", ids[1])):
        raise NotFound(_NOBODY)
    return ids
