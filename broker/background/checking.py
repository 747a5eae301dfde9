"""Testing idle connections: that a credential no longer works is found out before somebody needs it.

    look where something is due → claim some of it → read the connection → test it, or say when it is due instead

A refresh proves that a grant lives, and so does any test that somebody asked for; a fetch proves nothing, so it puts no
test off. A provider that is down is noticed at the first few connections; the others are not asked about, and nothing
is noted. What is noted as failed is tested again sooner.
"""

import asyncio
from typing import Final

import structlog

from broker.background.configured import LOOKED_AT_AGAIN, Configured
from broker.background.lanes import Lane, Lanes
from broker.clock import Clock
from broker.connections import schedule
from broker.connections.lifecycle import Lifecycle
from broker.connections.whoami import tells_nothing
from broker.errors import BrokerError, StoreUnavailable
from broker.models.connection import Connection, Status
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.records import Records

_AT_ONCE: Final = 512
"""Connections in work, or in line for their provider, in this process."""
_A_DAY: Final = 86_400_000

log = structlog.get_logger(__name__)


class Checking:
    """Does what is due of tests. :meth:`step` begins work; it goes on after the step."""

    def __init__(self, due: DueWork, records: Records, lifecycle: Lifecycle, providers: Registry, clock: Clock) -> None:
        self._due = due
        self._records = records
        self._lifecycle = lifecycle
        self._configured = Configured(providers, metrics.checks, clock)
        self._clock = clock
        self._lanes = Lanes(_AT_ONCE)
        self._working: set[asyncio.Task[None]] = set()
        slowest = max((provider.timeout for provider in providers), default=0.0)
        self._hidden_for = int((8 * slowest + 60) * 1000)
        """Milliseconds that claimed work is nobody else's: longer than one in line and the test itself take, with a
        refresh before each call."""

    async def step(self) -> int:
        """Begin some of what is due; answers how much."""
        now = self._clock()
        self._lanes.forget_idle()
        begun = 0
        for bucket, count in (await self._due.waiting(now=now)).items():
            most = min(count, _AT_ONCE - len(self._working))
            if most <= 0:
                break
            claimed = await self._due.claim(
                bucket, now=now, hidden_for=self._hidden_for, count=most, kinds=[Kind.CHECK]
            )
            begun += len(claimed)
            for entry in claimed:
                task = asyncio.create_task(self._carry_out(entry), name=f"test {entry.connection_id}")
                self._working.add(task)
                task.add_done_callback(self._working.discard)
        return begun

    async def finish(self) -> None:
        """Return when everything that was begun is done."""
        while self._working:
            await asyncio.wait(self._working)

    async def aclose(self) -> None:
        """Begin nothing more, and forget what was begun: it is due again when its claim has run out."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

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
        provider = self._configured.provider_of(connection)
        if provider is None:
            return now + LOOKED_AT_AGAIN
        again = schedule.next_check(provider, now=now)
        if provider.identity is None or again is None:
            return now + _A_DAY
        due = schedule.check_is_due(connection, provider, now=now)
        if due > now:
            return due
        if not _can_be_tested(connection, now):
            return again
        lane = self._lanes.of(provider, connection.parameters, address=provider.identity.url)
        if lane.full:
            return now + int(lane.call_again() * 1000)
        async with lane.place() as may:
            if not may:
                return now + int(lane.call_again() * 1000)
            with lane.timed():
                return await self._test(connection, provider, lane)

    async def _test(self, connection: Connection, provider: Provider, lane: Lane) -> int | None:
        outcome, failures = "ok", 0
        try:
            await self._lifecycle.test(connection, request_id=None, unasked=True)
        except StoreUnavailable:
            raise
        except BrokerError as error:
            outcome, failures = error.code, connection.health.consecutive_failures + 1
            log.info("check.failed", connection_id=connection.id, provider=provider.name, reason=error.detail)
            if tells_nothing(error):
                lane.unanswered(error.retry_after)
                metrics.checks.labels(provider.name, outcome).inc()
                soon = schedule.next_check(provider, now=self._clock(), failures=1) or 0
                return max(soon, self._clock() + int(lane.call_again() * 1000))
        lane.answered()
        metrics.checks.labels(provider.name, outcome).inc()
        return schedule.next_check(provider, now=self._clock(), failures=failures)


def _can_be_tested(connection: Connection, now: int) -> bool:
    """Whether testing tells something that is worth its price.

    An access token that is over would have to be refreshed first, and idle connections are refreshed no more often than
    their provider wants; that refresh is their test. What is given up comes back by its person, unless it was handed
    in: a provider that refused it by mistake takes it again.
    """
    if connection.status is Status.REAUTH_REQUIRED:
        return connection.static
    return connection.static or connection.issued or connection.outlives(now)
