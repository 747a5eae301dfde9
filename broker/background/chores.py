"""The chores: settling the audit record, and retrying revocations that could not be carried out."""

import asyncio
from typing import Final

import structlog

from broker.background.loop import Chore
from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.lifecycle import Lifecycle
from broker.errors import BrokerError
from broker.vault import names
from broker.vault.revocations import Revocations

_RETRY_AFTER: Final = 120_000
"""Milliseconds until a revocation that is still pending is tried again."""
_AT_ONCE: Final = 20

log = structlog.get_logger(__name__)


def chores(bookkeeping: Bookkeeping, revoking: "Revoking") -> list[Chore]:
    """All of them."""
    return [
        Chore("settle events", bookkeeping.settle_all, rest_when_busy=0.25, rest_when_idle=2.0),
        Chore("retry revocations", revoking.step, rest_when_busy=1.0, rest_when_idle=10.0),
    ]


class Revoking:
    """Retries revocations at providers until they come back, or a day has passed."""

    def __init__(self, revocations: Revocations, lifecycle: Lifecycle, clock: Clock) -> None:
        self._revocations = revocations
        self._lifecycle = lifecycle
        self._clock = clock

    async def step(self) -> int:
        """Try what is due; answers how many were tried."""
        now = self._clock()
        claims = await asyncio.gather(
            *(
                self._revocations.claim_due(bucket, now=now, hidden_for=_RETRY_AFTER, count=_AT_ONCE)
                for bucket in names.buckets()
            )
        )
        due = [connection_id for claimed in claims for connection_id in claimed]
        for connection_id in due:
            try:
                await self._retry(connection_id)
            except BrokerError as error:
                # One that can't be opened or noted now must not keep the others waiting; it is due again later.
                log.error("revocation.not_retried", connection_id=connection_id, reason=error.detail)
        return len(due)

    async def _retry(self, connection_id: str) -> None:
        job = await self._revocations.read(connection_id)
        if job is None:
            # Its day is over, and with it the sealed credential.
            await self._revocations.drop(connection_id)
            return
        ending = await self._lifecycle.give_back(job)
        log.info("revocation.retried", connection_id=connection_id, outcome=ending.outcome)
