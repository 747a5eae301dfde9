"""Completing a session whose person handed a credential in: what was kept becomes a connection."""

from contextlib import suppress

from broker.connections.intake import Intake, Taken
from broker.connections.ordered import wanted_by
from broker.errors import Conflict, NotSent, ProviderUnavailable, StoreUnavailable
from broker.models.connection import Connection
from broker.models.session import ConnectSession
from broker.providers import Provider
from broker.vault.typed import StoredTyped


class HandedIn:
    """What people typed, from the form to the connection."""

    def __init__(self, typed: StoredTyped, intake: Intake) -> None:
        self._typed = typed
        self._intake = intake

    async def store(
        self, session: ConnectSession, provider: Provider, taken: Taken | None, *, request_id: str | None
    ) -> Connection:
        """The connection that holds what was typed for ``session``.

        :param taken: it, where it was judged a moment ago; else it is judged again, for minutes may have passed.
        :raises InvalidCredentials: the provider no longer takes it.
        :raises NotSent: the provider can't be asked now; what was typed is as good as before.
        :raises Conflict: nothing was typed, or its time is over.
        """
        if taken is not None:
            return await self._intake.store(taken)
        typed = await self._typed.read(session)
        if typed is None:
            raise Conflict("the connect session is not awaiting completion")
        wanted = wanted_by(session, provider, typed.parameters, request_id)
        try:
            return await self._intake.take(wanted, typed.credentials)
        except ProviderUnavailable as error:
            raise NotSent(error.detail, retry_after=error.retry_after) from None

    async def erase(self, session: ConnectSession) -> None:
        """Let nothing be left of what was typed. What can't be erased now is gone within minutes by itself."""
        with suppress(StoreUnavailable):
            await self._typed.erase(session)
