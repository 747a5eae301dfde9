"""Refreshing what was just taken in, where that is wanted: whether each grant lives, and whose account it is, is known
then, and not later."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from broker.connections.lifecycle import Lifecycle
from broker.connections.moving.order import Stop, Tell
from broker.connections.moving.verifying import whoami_at
from broker.connections.turns import Turns
from broker.errors import BrokerError
from broker.models.connection import Connection, Status
from broker.providers import Registry
from broker.vault.records import Records

_AT_ONCE: Final = 32
_PATIENCE: Final = 30.0
"""Seconds that a connection waits for its turn to be asked whose it is."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A connection that could not be refreshed; it says itself what became of it."""

    connection_id: str
    reason: str


@dataclass(slots=True)
class Renewed:
    """What came of it."""

    refreshed: int = 0
    static: int = 0
    """Have credentials that are not renewed, or are switched off."""
    failed: list[Failure] = field(default_factory=list)


async def renew(
    lifecycle: Lifecycle,
    records: Records,
    turns: Turns,
    providers: Registry,
    connection_ids: Iterable[str],
    tell: Tell,
    stop: Stop,
) -> Renewed:
    """Refresh each of these once, as ``broker connections refresh`` does; each provider's limits hold.

    Who was refreshed since it was taken in is left alone. Where nobody knows whose account it is, the provider is asked
    then; if it doesn't say, that is no failure.

    :raises StoreUnavailable: the store can't be reached.
    """
    result, done = Renewed(), 0

    async def one(connection_id: str) -> None:
        connection = await records.read(connection_id)
        if connection is None or connection.static or connection.status is not Status.ACTIVE:
            result.static += 1
            return
        if connection.health.last_refreshed_at is not None and connection.generation > 1:
            result.refreshed += 1
            return
        try:
            refreshed = await lifecycle.refresh(connection, request_id=None)
        except BrokerError as error:
            result.failed.append(Failure(connection_id, error.detail))
            return
        result.refreshed += 1
        if refreshed.account is None:
            with suppress(BrokerError):
                await learn(refreshed)

    async def learn(connection: Connection) -> None:
        provider = providers.get(connection.provider)
        async with turns.turn(provider, where=whoami_at(provider), patience=_PATIENCE, trial=True):
            await lifecycle.test(connection, request_id=None, unasked=True)

    left = iter(connection_ids)
    while (some := list(islice(left, _AT_ONCE))) and not stop.is_set():
        await asyncio.gather(*map(one, some))
        done += len(some)
        tell("refreshing", done, None)
    return result
