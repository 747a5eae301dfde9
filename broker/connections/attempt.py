"""What happens under the lease: new tokens are obtained and committed, or what went wrong is noted."""

import asyncio
from dataclasses import replace
from math import ceil
from typing import Final

from broker.clock import Clock
from broker.connections import schedule
from broker.connections.commits import Commits
from broker.connections.obtaining import Attempt, Obtaining, Overtaken
from broker.connections.persistence import WITHIN_A_SECOND, until_stored
from broker.connections.verdict import (
    SPENT_PERHAPS,
    GrantOver,
    blameless,
    fault_of,
    outcome_of,
    outcome_unknown,
)
from broker.connections.whoami import refuses_token, whose
from broker.errors import (
    BrokerError,
    OutcomeUnknown,
    ProviderPaused,
    ReauthRequired,
)
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.observe import metrics, steps
from broker.upstream.deadline import MOMENT
from broker.upstream.facade import Upstream
from broker.vault.records import Records

_STORES_WITHIN: Final = MOMENT + 1.0
"""Seconds in which a process that stood still has read what had arrived, and stored it."""
_LOOKS_EVERY: Final = 0.1
"""Seconds."""


class Attempts:
    """Carries attempts out."""

    def __init__(
        self, records: Records, obtaining: Obtaining, commits: Commits, upstream: Upstream, clock: Clock
    ) -> None:
        self._records = records
        self._obtaining = obtaining
        self._commits = commits
        self._upstream = upstream
        self._clock = clock

    async def carry_out(self, attempt: Attempt, request_id: str | None) -> None:
        """Refresh, and return once the new credential is stored; or the record has left its generation meanwhile.

        :raises Overtaken: the lease or the generation was lost, and nothing is stored.
        :raises ReauthRequired: the grant is over, or only the person can tell.
        :raises ProviderError, ProviderUnavailable: it was refused, not sent, or its outcome is unknown.
        :raises StoreUnavailable: what went wrong could not be noted.
        """
        connection, provider, began = attempt.connection, attempt.provider, self._clock()
        if attempt.unknown_since != attempt.tenure.lease.unknown_since:
            # A failover has lost the intent under which it was sent. Others must know, too.
            await attempt.tenure.intend(started=attempt.sent_at or began)
        if not attempt.may_send(began):
            # Whether the provider took the earlier request is unknown, and asking again could end the grant.
            if await self._something_to_lose(attempt):
                if not _noted(connection, began):
                    await self._note_failure(attempt, outcome_unknown(), request_id)
                raise outcome_unknown()
            await self._let_come_back(attempt)
            attempt = replace(attempt, nothing_to_lose=True)
        try:
            tokens, replaced = await self._obtaining.obtain(attempt)
        except ProviderPaused:
            # Nothing happened that should be noted; it has been said when the pause began.
            attempt.tenure.nothing_open = True
            raise
        except BrokerError as caught:
            error = blameless(caught)
            metrics.refreshes.labels(provider.name, outcome_of(error)).inc()
            if not await self._note_failure(attempt, error, request_id):
                # The record has left this generation, or the lease was lost: what holds now is for another look to say.
                # To return would mean that there is a new credential, and the old one would be served, dead or not.
                if isinstance(error, GrantOver):
                    await self._commits.doubt(connection, provider, request_id)
                if isinstance(error, SPENT_PERHAPS):
                    raise Overtaken(began) from None
                attempt.tenure.nothing_open = True
                raise Overtaken(attempt.sent_at) from None
            if isinstance(error, GrantOver):
                raise ReauthRequired("the connection has to be authorized again") from None
            raise error from None
        metrics.refreshes.labels(provider.name, "ok").inc()
        await steps.reached("refresh.answered")
        await self._commits.commit(
            connection, replaced, tokens, provider=provider, lease=attempt.tenure.lease, request_id=request_id
        )

    async def _something_to_lose(self, attempt: Attempt) -> bool:
        """Whether the access token may still work, so that ending the grant would take something from somebody."""
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return False
        if not attempt.refused:
            return True
        try:
            account = await whose(self._upstream, attempt.provider, connection, attempt.credential)
        except BrokerError as error:
            return not refuses_token(error)
        # Where the provider can't be asked, the caller's word has to do, unless the token's end can be waited for.
        return account is not None or connection.access_token_expires_at is not None

    async def _let_come_back(self, attempt: Attempt) -> None:
        """Leave who sent the refresh token, and lost the lease, the time to store what the provider answered.

        The old access token is dead, but a new one may be on its way: sending the refresh token again could end the
        grant that it belongs to. One that was waited for in vain is not waited for again.

        :raises Overtaken: it is stored, or the lease is lost.
        """
        flight, most = attempt.tenure.lease.in_flight, attempt.provider.timeout
        if flight is None:
            return
        left = most - (self._clock() - flight.since) / 1000
        # Their clock may differ. And looks are counted, not seconds: should this process stand still, too, and go on
        # together with the other one, it must not be the faster of the two.
        for _ in range(ceil((min(max(left, 0.0), most) + _STORES_WITHIN) / _LOOKS_EVERY)):
            await asyncio.sleep(_LOOKS_EVERY)
            if not await attempt.tenure.look_again():
                raise Overtaken(attempt.sent_at)
            if attempt.tenure.lease.in_flight is None:
                return
        await attempt.tenure.forget_flight()

    async def _note_failure(self, attempt: Attempt, error: BrokerError, request_id: str | None) -> bool:
        """Note what went wrong; ``False`` if the record left its generation meanwhile."""
        before, now, dead = attempt.connection, self._clock(), isinstance(error, GrantOver)
        fault, failures = fault_of(error, at=now), before.health.consecutive_failures + 1
        health = replace(
            before.health,
            consecutive_failures=failures,
            last_error=fault,
            next_refresh_at=schedule.after_failure(
                before,
                attempt.provider,
                error,
                failures=failures,
                now=now,
                has_refresh_token=attempt.credential.refresh_token is not None,
            ),
        )
        event_type = "connection.reauth_required" if dead else "credential.refresh_failed"
        event = Event.about(event_type, before, at=now, request_id=request_id, reason=fault.code)
        return await until_stored(
            lambda: self._records.annotate(
                before,
                status=Status.REAUTH_REQUIRED if dead else None,
                health=health,
                updated_at=now,
                event=event,
                lease=attempt.tenure.lease,
                parked=attempt.tried.parked if dead else None,
                # The provider read the request and said no, or never saw it: the refresh token is as it was, unless an
                # earlier request has used it up.
                settles_intent=not isinstance(error, SPENT_PERHAPS) and attempt.unknown_since is None,
            ),
            what=f"failed refresh of {before.id}",
            attempts=WITHIN_A_SECOND,
        )


def _noted(connection: Connection, now: int) -> bool:
    """Whether the connection's health says already that it is waited for something, and how long."""
    fault, due = connection.health.last_error, connection.health.next_refresh_at
    return fault is not None and fault.code == OutcomeUnknown.code and (due is None or due > now)
