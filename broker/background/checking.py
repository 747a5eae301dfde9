"""Testing idle connections: that a credential no longer works is found out before somebody needs it.

    look where something is due → claim some of it → read the connection → test it, or say when it is due instead

A refresh proves that a grant lives, and so does any test that somebody asked for; a fetch proves nothing, so it puts no
test off. A provider that is down is noticed at the first few connections, and the others are not asked about.
"""

import asyncio
from typing import Final

import structlog

from broker.background.lanes import Lane, Lanes
from broker.clock import Clock
from broker.connections import schedule
from broker.connections.lifecycle import Lifecycle
from broker.errors import BrokerError, ProviderUnavailable, StoreUnavailable
from broker.models.connection import Connection, Status
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.records import Records

_AT_ONCE: Final = 64
"""Connections in work, in one step."""
_HIDDEN_FOR: Final = 300_000
"""Milliseconds that claimed work is nobody else's: longer than a test, a refresh before it, and a line take."""
_NOT_USABLE_FOR: Final = 3_600_000
_PAUSE: Final = 60.0
"""Seconds that a provider is left alone that could not be asked and names no time."""
_BACK_OFF_FROM: Final = 900_000
_BACK_OFF_TO: Final = 86_400_000

log = structlog.get_logger(__name__)


class Checking:
    """Does what is due of tests."""

    def __init__(self, due: DueWork, records: Records, lifecycle: Lifecycle, providers: Registry, clock: Clock) -> None:
        self._due = due
        self._records = records
        self._lifecycle = lifecycle
        self._providers = providers
        self._clock = clock
        self._lanes = Lanes()

    async def step(self) -> int:
        """Do some of what is due; answers how much."""
        now = self._clock()
        entries: list[Entry] = []
        for bucket, count in (await self._due.waiting(now=now)).items():
            most = min(count, _AT_ONCE - len(entries))
            if most:
                entries += await self._due.claim(
                    bucket, now=now, hidden_for=_HIDDEN_FOR, count=most, kinds=[Kind.CHECK]
                )
        self._lanes.forget_idle()
        await asyncio.gather(*(self._carry_out(entry) for entry in entries))
        return len(entries)

    async def _carry_out(self, entry: Entry) -> None:
        try:
            await self._due.settle(entry, due=await self._do(entry.connection_id))
        except BrokerError as error:
            # It is due again when its claim has run out.
            log.warning("check.not_done", connection_id=entry.connection_id, reason=error.detail)
        except Exception:
            log.exception("check.not_done", connection_id=entry.connection_id)

    async def _do(self, connection_id: str) -> int | None:
        """Test the connection if it is time; answers when it is due again (ms)."""
        connection = await self._records.read(connection_id)
        now = self._clock()
        if connection is None or connection.status in {Status.REVOKED, Status.DISABLED}:
            return None
        if connection.provider not in self._providers or not self._providers.get(connection.provider).ready:
            # Not struck off: the next broker may be started with the entry mended.
            return now + _NOT_USABLE_FOR
        provider = self._providers.get(connection.provider)
        again = schedule.next_check(provider, now=now)
        if again is None:
            return now + _BACK_OFF_TO
        due = schedule.check_is_due(connection, provider, now=now)
        if due > now:
            return due
        if not _can_be_tested(connection, now):
            return again
        lane = self._lanes.of(provider, connection.parameters)
        if lane.full:
            return now + int(lane.call_again() * 1000)
        async with lane.place() as may:
            if not may:
                return now + int(lane.call_again() * 1000)
            return await self._test(connection, provider, lane, again=again)

    async def _test(self, connection: Connection, provider: Provider, lane: Lane, *, again: int) -> int:
        try:
            await self._lifecycle.test(connection, request_id=None)
        except StoreUnavailable:
            raise
        except BrokerError as error:
            metrics.checks.labels(provider.name, error.code).inc()
            log.info("check.failed", connection_id=connection.id, provider=provider.name, reason=error.detail)
            if isinstance(error, ProviderUnavailable):
                lane.close(error.retry_after or _PAUSE)
                return self._clock() + int(lane.call_again() * 1000)
            delay = _BACK_OFF_FROM << min(connection.health.consecutive_failures, 7)
            return min(self._clock() + min(delay, _BACK_OFF_TO), again)
        metrics.checks.labels(provider.name, "ok").inc()
        return again


def _can_be_tested(connection: Connection, now: int) -> bool:
    """Whether testing tells something that is worth its price.

    An access token that is over would have to be refreshed first, and idle connections are refreshed no more often than
    their provider wants; that refresh is their test. What is given up comes back by its person, unless it was handed
    in: a provider that refused it by mistake takes it again.
    """
    if connection.status is Status.REAUTH_REQUIRED:
        return connection.static
    return connection.static or connection.issued or connection.outlives(now)
