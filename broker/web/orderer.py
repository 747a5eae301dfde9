"""The app that ordered a connection: whether it is still registered when a person is about to act for it."""

from typing import Protocol

from broker.access.clients import Clients
from broker.connections.journey import Journey
from broker.errors import NotFound
from broker.models.session import ConnectSession, SessionStatus


class Ordered(Protocol):
    """What a client ordered: a connect session, or a machine's login."""

    @property
    def client_id(self) -> str: ...

    @property
    def tenant(self) -> str: ...


class Orderers:
    """The clients that opened the sessions, and the machines' logins, which browsers come with.

    A session outlives its client: whoever removes an app, perhaps because its secret leaked, must not be given
    connections by people who still hold its links.
    """

    def __init__(self, clients: Clients, journey: Journey) -> None:
        self._clients = clients
        self._journey = journey

    async def check(self, ordered: Ordered) -> None:
        """Return if the client that ordered this is still there, in the same tenant.

        :raises NotFound: it is not. What it ordered is left as it is: looking at a page changes nothing.
        """
        client = await self._clients.read(ordered.client_id)
        if client is None or client.tenant != ordered.tenant:
            raise NotFound("the app that asked for this connection is not registered any more")

    async def check_or_end(self, session: ConnectSession) -> None:
        """As :meth:`check`, for a step that changes something: without its client the session has failed.

        :raises NotFound: the client is gone; verifier and state are erased, so no answer can be taken in later.
        """
        try:
            await self.check(session)
        except NotFound:
            # One that has ended already, or moved on in another window, stays as it is.
            await self._journey.fail(session, [SessionStatus.PENDING, SessionStatus.AUTHORIZING], "client_gone")
            raise
