"""A lease for as long as a refresh takes: renewed meanwhile, and watched, for whoever lost it must not send."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from broker.clock import steady
from broker.connections.persistence import until_stored
from broker.errors import StoreUnavailable
from broker.models.connection import Connection
from broker.vault.leases import Lease, Leases

_RENEWALS: Final = 4
"""Within a lease's time."""
_ATTEMPTS: Final = 2
"""At noting an intent, or looking again: one answer may be lost."""
_MARGIN: Final = 1 / 15
"""The last part of a lease, in which it permits nothing any more: a request takes a moment to leave."""


class Tenure:
    """Holds a lease. Used as a context: what ends in an error gives the lease back."""

    def __init__(self, leases: Leases, lease: Lease, connection: Connection, *, asked_at: float) -> None:
        """:param asked_at: the steady time before the lease was asked for; it has begun no earlier."""
        self.lease = lease
        self.nothing_open = False
        """Whatever was sent under it was answered."""
        self._leases = leases
        self._connection = connection
        self._renewal: asyncio.Task[None] | None = None
        self._seconds = leases.milliseconds / 1000
        self._ends = asked_at + self._seconds

    async def __aenter__(self) -> Self:
        self._renewal = asyncio.create_task(self._keep(), name=f"lease {self._connection.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        if kind is not None:
            # Mostly given back by then; who was cut short must not hold others up until it runs out.
            with suppress(StoreUnavailable):
                await self._leases.drop(self.lease, nothing_open=self.nothing_open)

    @property
    def permits(self) -> bool:
        """Whether the lease is ours for certain. A process that was stopped for a while finds that it is not.

        Asked at the last moment before a request leaves: somebody else may have sent the same refresh token since, and
        a provider may end the grant when it sees it twice.
        """
        return steady() < self._ends - self._seconds * _MARGIN

    async def intend(self, *, started: int) -> bool:
        """Note, durably, that the refresh token is sent now (``started``, ms); ``False``: it may not be.

        :raises StoreUnavailable: it can't be noted, so nothing may be sent.
        """
        asked_at = steady()
        noted = await until_stored(
            lambda: self._leases.intend(self.lease, self._connection, started=started),
            what=f"intent on {self._connection.id}",
            attempts=_ATTEMPTS,
        )
        if noted:
            self._ends = asked_at + self._seconds
        return noted

    async def look_again(self) -> bool:
        """See how it stands with what others have begun; ``False``: they finished it, or the lease is theirs.

        :raises SealBroken: what is noted of them is damaged.
        :raises StoreUnavailable: the store can't be asked.
        """
        asked_at = steady()
        answer = await until_stored(
            lambda: self._leases.take(self._connection, self.lease.owner),
            what=f"lease on {self._connection.id}",
            attempts=_ATTEMPTS,
        )
        if not isinstance(answer, Lease):
            return False
        self.lease, self._ends = answer, asked_at + self._seconds
        return True

    async def forget_flight(self) -> None:
        """Whoever sent the refresh token before, and lost the lease, was waited for in vain.

        :raises StoreUnavailable: that can't be noted, so nothing could be sent either.
        """
        await until_stored(
            lambda: self._leases.forget_flight(self.lease),
            what=f"lease on {self._connection.id}",
            attempts=_ATTEMPTS,
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS)
            asked_at = steady()
            # A lease that can't be renewed only costs exclusiveness; the generation still fences the write. One that
            # the store no longer knows, as after a failover, permits nothing any more.
            with suppress(StoreUnavailable):
                self._ends = asked_at + self._seconds if await self._leases.renew(self.lease) else asked_at
