"""Refreshing ahead: connections in use get a new token before somebody needs it, idle ones are kept alive.

    look where something is due → claim a little of it → read the connection → stand in line for its provider
    → refresh it, or say when it is due instead

As fast as the places at the providers allow, and never at once: a clock that jumps or an hour's outage makes no storm.
Everything begins one by one, so that whoever fetches a token meanwhile gets between. A lane (``lanes``) has a few
seconds of work in line, and whoever finds it full is told when there will be a place, so that one provider's backlog
stands in nobody's way; while some are expected back, a look for them comes sooner.

Claims run out by themselves, so what a crashed replica had claimed comes back; what is claimed or stands in line when a
replica stops is given back. That a connection is refreshed once at a time is the business of ``connections.refresh``.
"""

import asyncio
import math
import random
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from broker.background.configured import LOOKED_AT_AGAIN, Configured
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

_IN_HAND: Final = 1024
"""Connections in work, or in line for their provider, in this process."""
_CLAIMED_AT_ONCE: Final = 32
"""In one step. What belongs to a provider whose lane is full is turned away at this speed, and others' is found."""
_READ_AT_ONCE: Final = 4
"""Records. What comes in one answer of the store is worked on in one go, and requests wait for it."""
_APART: Final = 0.005
"""Seconds between the beginnings of two refreshes. On a loop that is busy, it is as much more as that is late."""
_LOOKS_EVERY: Final = 5.0
"""Seconds between looks at what is due: each asks for every bucket, however little there is to do."""
_LOOKS_AGAIN: Final = 1.0
"""The same while some are expected back that had found no place."""
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
        self._configured = Configured(providers, metrics.refreshes_ahead, clock)
        self._clock = clock
        self._lanes = Lanes(_IN_HAND)
        self._claiming: set[asyncio.Task[int]] = set()
        self._working: set[asyncio.Task[None]] = set()
        self._looks_every = looks_every
        self._looked_at = -math.inf
        self._found: dict[int, int] = {}
        """How much the last look found that was not claimed since, by bucket."""
        self._in_line: set[Entry] = set()
        """What was claimed, and not begun."""
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)
        self._one_by_one = asyncio.Lock()
        slowest = max((provider.timeout for provider in providers), default=0.0)
        self._refresh_takes = int(2 * slowest * 1000)
        """Milliseconds, with what is waited for at the provider."""
        self._hidden_for = self._refresh_takes + 60_000
        """Milliseconds: longer than waiting in line and refreshing take."""

    async def step(self) -> int:
        """Begin some of what is due; answers how much, or what waits while no more can be begun."""
        now = self._clock()
        if self._time_to_look():
            await self._look(now)
        # Whoever gives up the step while the store's answer is on its way would leave claims that nobody knows of.
        claiming = asyncio.create_task(self._claim(now, min(_CLAIMED_AT_ONCE, _IN_HAND - len(self._working))))
        self._claiming.add(claiming)
        claiming.add_done_callback(self._claiming.discard)
        return await asyncio.shield(claiming) or len(self._found)

    async def finish(self) -> None:
        """Return when everything that was begun is done."""
        while self._working:
            await asyncio.wait(self._working)

    async def aclose(self) -> None:
        """Begin nothing more, and give back what was claimed or is in line: due again at once, for whoever leads next.

        Refreshes under way go on; the refresher is drained by whoever owns it.
        """
        await asyncio.gather(*self._claiming, return_exceptions=True)
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await asyncio.gather(*(self._give_back(entry) for entry in self._in_line))

    async def _give_back(self, entry: Entry) -> None:
        # Where the store can't be asked, it is due again when its claim has run out.
        with suppress(StoreUnavailable):
            await self._due.settle(entry, due=self._clock())

    def _time_to_look(self) -> bool:
        soon = not self._found and self._lanes.expect()
        wait = min(_LOOKS_AGAIN, self._looks_every) if soon else self._looks_every
        return asyncio.get_running_loop().time() - self._looked_at >= wait

    async def _look(self, now: int) -> None:
        found = await self._due.waiting(now=now)
        self._looked_at = asyncio.get_running_loop().time()
        metrics.work_due.set(sum(found.values()))
        self._lanes.forget_idle()
        # Not always the same buckets first, and two replicas not the same ones at the same time.
        order = random.sample(list(found), len(found))
        self._found = {bucket: found[bucket] for bucket in order}

    async def _claim(self, now: int, most: int) -> int:
        """Claim at most so much, of the buckets that the last look found something in, and begin it; answers how much.

        :raises StoreUnavailable: a claim failed. What the others brought is begun.
        """
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
            ),
            return_exceptions=True,
        )
        begun, failed = 0, None
        for claimed in claims:
            if isinstance(claimed, BaseException):
                failed = claimed
                continue
            begun += len(claimed)
            for entry in claimed:
                self._begin(entry)
        if failed is not None:
            raise failed
        return begun

    def _begin(self, entry: Entry) -> None:
        self._in_line.add(entry)
        task = asyncio.create_task(self._carry_out(entry), name=f"refresh ahead {entry.connection_id}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _carry_out(self, entry: Entry) -> None:
        try:
            await self._do(entry)
        except BrokerError as error:
            # It is due again when its claim has run out.
            log.warning("refresh_ahead.not_done", connection_id=entry.connection_id, reason=error.detail)
        except Exception:
            log.exception("refresh_ahead.not_done", connection_id=entry.connection_id)
        self._in_line.discard(entry)

    async def _do(self, entry: Entry) -> None:
        async with self._reading:
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
        provider = self._configured.provider_of(connection)
        if provider is None:
            await self._due.settle(entry, due=now + LOOKED_AT_AGAIN)
            return
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
            if entry.hidden_until - self._clock() < self._refresh_takes:
                # Its provider has become slower since, and others may have it by the time it is done.
                await self._due.settle(entry, due=self._clock())
                return
            with lane.timed():
                await self._in_place(entry, connection, lane)

    async def _in_place(self, entry: Entry, connection: Connection, lane: Lane) -> None:
        async with self._one_by_one:
            await asyncio.sleep(_APART)
        self._in_line.discard(entry)
        try:
            await self._refresher.refresh(connection.id, connection.generation)
        except BrokerError as error:
            metrics.refreshes_ahead.labels(connection.provider, "failed").inc()
            await self._after(error, entry, lane)
        else:
            metrics.refreshes_ahead.labels(connection.provider, "refreshed").inc()

    async def _call_again(self, entry: Entry, provider: Provider, lane: Lane) -> None:
        metrics.refreshes_ahead.labels(provider.name, "postponed").inc()
        await self._due.settle(entry, due=self._clock() + int(lane.call_again() * 1000))

    async def _after(self, error: BrokerError, entry: Entry, lane: Lane) -> None:
        """Where the refresh noted its failure, that says when it is due; where it did not come so far, this does."""
        now = self._clock()
        if isinstance(error, RequestError):
            # Configured differently, or the person's turn: nothing that a moment would change.
            again = now + LOOKED_AT_AGAIN
        else:
            seconds = error.retry_after or _AGAIN_AFTER
            again = now + int(seconds * (1 + random.random()) * 1000)  # noqa: S311 - spreads load, keeps no secret
            if isinstance(error, ProviderBusy):
                lane.close(seconds)
                again = now + int(lane.call_again() * 1000)
        with suppress(StoreUnavailable):
            await self._due.settle(entry, due=again)
        log.info("refresh_ahead.failed", connection_id=entry.connection_id, reason=error.detail)
