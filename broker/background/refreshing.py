"""Refreshing ahead: connections in use get a new token before somebody needs it, idle ones are kept alive.

    look where something is due → claim a little of it → read the connection → refresh it, or say when it is due instead

What is due is worked off evenly within two minutes, not at once: a clock that jumps or an hour's outage makes no storm.
No more is claimed than is being worked on, and claims run out by themselves, so what a crashed replica had claimed
comes back. That a connection is refreshed once at a time is the business of ``connections.refresh``.
"""

import asyncio
import math
import random
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from broker.background.lanes import Lane, Lanes
from broker.clock import Clock
from broker.connections import schedule
from broker.connections.refresh import Refresher
from broker.errors import BrokerError, ProviderBusy, RequestError, StoreUnavailable
from broker.models.connection import Connection, Status
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.records import Records

_AT_ONCE: Final = 256
"""Connections in work, or in line for their provider, in this process."""
_WORKED_OFF_WITHIN: Final = 120.0
_AT_LEAST: Final = 4
"""Connections per step, however little is due."""
_LOOKS_EVERY: Final = 5.0
"""Seconds between looks at what is due: each asks for every bucket, however little there is to do."""
_NOT_USABLE_FOR: Final = 3_600_000
"""Milliseconds until a connection is looked at again whose provider is not configured, or with another OAuth app."""
_AGAIN_AFTER: Final = 30
"""Seconds, where a failure doesn't say."""

log = structlog.get_logger(__name__)


class RefreshAhead:
    """Does what is due of refreshes. :meth:`step` begins work; it goes on after the step."""

    def __init__(
        self,
        due: DueWork,
        records: Records,
        refresher: Refresher,
        providers: Registry,
        clock: Clock,
        *,
        looks_every: float = _LOOKS_EVERY,
    ) -> None:
        self._due = due
        self._records = records
        self._refresher = refresher
        self._providers = providers
        self._clock = clock
        self._lanes = Lanes()
        self._working: set[asyncio.Task[None]] = set()
        self._looks_every = looks_every
        self._looked_at = -math.inf
        self._found: dict[int, int] = {}
        """How much the last look found that was not claimed since, by bucket."""
        self._pace = 0.0
        self._stepped_at = -math.inf
        slowest = max((provider.timeout for provider in providers), default=0.0)
        self._hidden_for = int((2 * slowest + 60) * 1000)
        """Milliseconds: longer than waiting in line and refreshing take."""

    async def step(self) -> int:
        """Begin some of what is due; answers how much, or what waits while no more can be begun."""
        now = self._clock()
        loop_time = asyncio.get_running_loop().time()
        if loop_time - self._looked_at >= self._looks_every:
            await self._look(now)
            self._looked_at = loop_time
        since = min(loop_time - self._stepped_at, 1.0)
        self._stepped_at = loop_time
        most = min(max(_AT_LEAST, math.ceil(self._pace * since)), _AT_ONCE - len(self._working))
        entries = await self._claim(now, most)
        for entry in entries:
            task = asyncio.create_task(self._carry_out(entry), name=f"refresh ahead {entry.connection_id}")
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return len(entries) or len(self._found)

    async def finish(self) -> None:
        """Return when everything that was begun is done."""
        while self._working:
            await asyncio.wait(self._working)

    async def aclose(self) -> None:
        """Begin nothing more, and forget what is in line: it is due again when its claim has run out.

        Refreshes under way go on; the refresher is drained by whoever owns it.
        """
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _look(self, now: int) -> None:
        found = await self._due.waiting(now=now)
        backlog = sum(found.values())
        metrics.work_due.set(backlog)
        # As fast as the largest backlog asks for, until nothing is left: slowing down with it would never end.
        self._pace = max(self._pace, backlog / _WORKED_OFF_WITHIN) if backlog else 0.0
        self._lanes.forget_idle()
        # Not always the same buckets first, and two replicas not the same ones at the same time.
        order = random.sample(list(found), len(found))
        self._found = {bucket: found[bucket] for bucket in order}

    async def _claim(self, now: int, most: int) -> list[Entry]:
        """Claim at most so much, of the buckets that the last look found something in."""
        asked: dict[int, int] = {}
        while most > 0 and self._found:
            bucket, count = next(iter(self._found.items()))
            asked[bucket] = min(count, most)
            most -= asked[bucket]
            if asked[bucket] == count:
                del self._found[bucket]
            else:
                self._found[bucket] -= asked[bucket]
        claims = await asyncio.gather(
            *(
                self._due.claim(bucket, now=now, hidden_for=self._hidden_for, count=count, kinds=[Kind.REFRESH])
                for bucket, count in asked.items()
            )
        )
        return [entry for claimed in claims for entry in claimed]

    async def _carry_out(self, entry: Entry) -> None:
        try:
            await self._do(entry)
        except BrokerError as error:
            # It is due again when its claim has run out.
            log.warning("refresh_ahead.not_done", connection_id=entry.connection_id, reason=error.detail)
        except Exception:
            log.exception("refresh_ahead.not_done", connection_id=entry.connection_id)

    async def _do(self, entry: Entry) -> None:
        found = await self._records.read_with_credential(entry.connection_id)
        now = self._clock()
        if found is None or found[1] is None or found[0].status is not Status.ACTIVE:
            await self._due.settle(entry, due=None)
            return
        connection, has_refresh_token = found[0], found[1].refresh_token is not None
        due = connection.health.next_refresh_at
        if due is None or due > now:
            await self._due.settle(entry, due=due)
            return
        if connection.provider not in self._providers or not self._providers.get(connection.provider).ready:
            # Not struck off: the next broker may be started with the entry mended.
            await self._due.settle(entry, due=now + _NOT_USABLE_FOR)
            return
        provider = self._providers.get(connection.provider)
        if schedule.is_active(connection, provider, now) or schedule.keepalive_is_due(
            connection, provider, now=now, has_refresh_token=has_refresh_token
        ):
            await self._refresh(entry, connection, provider)
        else:
            await self._leave_idle(connection, provider, now, has_refresh_token=has_refresh_token)

    async def _leave_idle(
        self, connection: Connection, provider: Provider, now: int, *, has_refresh_token: bool
    ) -> None:
        next_at = schedule.when_idle(connection, provider, now=now, has_refresh_token=has_refresh_token)
        health = replace(connection.health, next_refresh_at=next_at)
        # Whoever was faster has said when it is due.
        await self._records.annotate(
            connection, health=health, instead_of=connection.health, updated_at=connection.updated_at
        )
        metrics.refreshes_ahead.labels(provider.name, "idle").inc()

    async def _refresh(self, entry: Entry, connection: Connection, provider: Provider) -> None:
        lane = self._lanes.of(provider, connection.parameters)
        if lane.full:
            await self._call_again(entry, provider, lane)
            return
        async with lane.place() as may:
            if not may:
                await self._call_again(entry, provider, lane)
                return
            try:
                await self._refresher.refresh(connection.id, connection.generation)
            except BrokerError as error:
                metrics.refreshes_ahead.labels(provider.name, "failed").inc()
                await self._after(error, entry, lane)
            else:
                metrics.refreshes_ahead.labels(provider.name, "refreshed").inc()

    async def _call_again(self, entry: Entry, provider: Provider, lane: Lane) -> None:
        metrics.refreshes_ahead.labels(provider.name, "postponed").inc()
        await self._due.settle(entry, due=self._clock() + int(lane.call_again() * 1000))

    async def _after(self, error: BrokerError, entry: Entry, lane: Lane) -> None:
        """Where the refresh noted its failure, that says when it is due; where it did not come so far, this does."""
        now = self._clock()
        if isinstance(error, RequestError):
            # Configured differently, or the person's turn: nothing that a moment would change.
            again = now + _NOT_USABLE_FOR
        else:
            seconds = error.retry_after or _AGAIN_AFTER
            again = now + int(seconds * (1 + random.random()) * 1000)  # noqa: S311 - spreads load, keeps no secret
            if isinstance(error, ProviderBusy):
                lane.close(seconds)
                again = now + int(lane.call_again() * 1000)
        with suppress(StoreUnavailable):
            await self._due.settle(entry, due=again)
        log.info("refresh_ahead.failed", connection_id=entry.connection_id, reason=error.detail)
