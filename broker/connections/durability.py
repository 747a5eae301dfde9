"""Following a new credential until the store's replicas have it, where the operator asked for that.

Callers are served as soon as the primary has it. If replicas don't confirm it in time, the connection says so and the
same write is repeated until they do: a failover may have lost it, and then the repeat puts it back. The provider is
never asked again for that.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.detached import Detached
from broker.connections.persistence import until_stored
from broker.errors import BrokerError
from broker.models.connection import Connection, Fault
from broker.observe import metrics
from broker.vault.records import Records, Written

NOT_REPLICATED: Final = "not_replicated"
"""What ``health.last_error`` says until enough replicas have the credential."""

_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds, half of them at random: replicas that are gone leave many to be repeated."""

log = structlog.get_logger(__name__)


class Durability:
    """Sees commits through."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._following: Detached[None] = Detached()

    def follow(self, connection: Connection, written: Written, again: Callable[[], Awaitable[Written]]) -> None:
        """See the commit of ``connection``'s credential through, in the background.

        :param again: the same write; a repeat must change nothing where the first one is still there.
        """
        if written.confirmed.immediate:
            return
        # Each by itself: after a failover one process may commit the same generation twice.
        self._following.start(object(), lambda: self._follow(connection, written, again))

    async def drain(self, seconds: float) -> int:
        """Let what is followed be confirmed; answers how many were not within ``seconds``."""
        return await self._following.drain(seconds)

    async def _follow(self, connection: Connection, written: Written, again: Callable[[], Awaitable[Written]]) -> None:
        attempts = 0
        while not await written.confirmed:
            if not attempts:
                metrics.commits_unconfirmed.inc()
                log.error("commit.not_replicated", connection_id=connection.id)
                fault = Fault(NOT_REPLICATED, "too few replicas have the credential", self._clock())
                await self._note(connection, fault)
            pause = _PAUSES[min(attempts, len(_PAUSES) - 1)]
            await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - spreads load, keeps no secret
            attempts += 1
            written = await until_stored(again, what=f"replicas of {connection.id}")
            if not written.stored:
                # A later credential has taken its place, and is followed itself.
                return
        if attempts:
            log.info("commit.replicated", connection_id=connection.id)
            await self._note(connection, None)

    async def _note(self, connection: Connection, fault: Fault | None) -> None:
        """Say in the connection's health how it is, unless something else is to be said of it."""
        try:
            current = await self._records.read(connection.id)
            if current is None or current.generation != connection.generation:
                return
            before = current.health
            if before.last_error is not None and before.last_error.code != NOT_REPLICATED:
                return
            await self._records.annotate(
                current, health=replace(before, last_error=fault), instead_of=before, updated_at=self._clock()
            )
        except BrokerError as error:
            # Only what is said of it; the write itself goes on being repeated.
            log.warning("commit.not_noted", connection_id=connection.id, reason=error.detail)
