"""The chores: settling the audit record, what is due of ended connections, refreshing ahead, testing what is idle,
finishing imports that were broken off after their commit point, undoing exports that were before theirs."""

import asyncio
from typing import Final

import structlog

from broker.background.checking import Checking
from broker.background.loop import Chore
from broker.background.refreshing import RefreshAhead
from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.device_life import DeviceLife
from broker.connections.giving_back import GivingBack
from broker.connections.moving.engine import Moving
from broker.errors import BrokerError
from broker.vault.directory import Directory
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.revocations import Revocations

_AGAIN_AFTER: Final = 120_000
"""Milliseconds until what could not be done is tried again."""
_AT_ONCE: Final = 20
"""How much of one bucket is done in one step."""
_SIDE_BY_SIDE: Final = 8
"""Of what was claimed: a provider that is slow to take a credential back holds up seven others at most."""
_KINDS: Final = (Kind.REVOKE, Kind.UNLIST, Kind.ABANDON)

log = structlog.get_logger(__name__)


def chores(
    bookkeeping: Bookkeeping, due: "WhatIsDue", ahead: RefreshAhead, checking: Checking, moving: Moving
) -> list[Chore]:
    """All of them. Providers that are slow with refreshes or tests hold up no revocation: those are apart."""
    return [
        Chore("settle events", bookkeeping.settle_all, rest_when_busy=1.0, rest_when_idle=2.0),
        Chore("do what is due", due.step, rest_when_busy=1.0, rest_when_idle=10.0),
        Chore("refresh ahead", ahead.step, rest_when_busy=0.1, rest_when_idle=1.0),
        Chore("test idle connections", checking.step, rest_when_busy=1.0, rest_when_idle=30.0),
        Chore("finish imports", moving.publishing.step, rest_when_busy=1.0, rest_when_idle=60.0),
        Chore("undo broken exports", moving.undoing.step, rest_when_busy=1.0, rest_when_idle=60.0),
    ]


class WhatIsDue:
    """Retries revocations until they come back or a day has passed; takes ended connections off the lists; looks
    whether machines still use what is there for them."""

    def __init__(
        self,
        due: DueWork,
        revocations: Revocations,
        giving_back: GivingBack,
        directory: Directory,
        devices: DeviceLife,
        clock: Clock,
    ) -> None:
        self._devices = devices
        self._due = due
        self._revocations = revocations
        self._giving_back = giving_back
        self._directory = directory
        self._clock = clock

    async def step(self) -> int:
        """Do what is due; answers how much was tried."""
        now = self._clock()
        claims = await asyncio.gather(
            *(
                self._due.claim(bucket, now=now, hidden_for=_AGAIN_AFTER, count=_AT_ONCE, kinds=_KINDS)
                for bucket in await self._due.waiting(now=now)
            )
        )
        entries = [entry for claimed in claims for entry in claimed]
        turns = asyncio.Semaphore(_SIDE_BY_SIDE)
        await asyncio.gather(*(self._in_turn(entry, turns) for entry in entries))
        return len(entries)

    async def _in_turn(self, entry: Entry, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                await self._do(entry)
            except BrokerError as error:
                # One that can't be opened or noted now must not keep the others waiting; it is due again later.
                log.error("due.not_done", kind=entry.kind, connection_id=entry.connection_id, reason=error.detail)
            except Exception:
                # Nor must one that meets a mistake of ours.
                log.exception("due.not_done", kind=entry.kind, connection_id=entry.connection_id)

    async def _do(self, entry: Entry) -> None:
        match entry.kind:
            case Kind.REVOKE:
                await self._revoke(entry.connection_id)
            case Kind.UNLIST:
                await self._directory.forget(entry.connection_id)
                await self._due.done(entry)
            case Kind.ABANDON:
                await self._due.settle(entry, due=await self._devices.tidy(entry.connection_id))
            case Kind.REFRESH | Kind.CHECK:
                raise ValueError("refreshes and tests are not claimed here")

    async def _revoke(self, connection_id: str) -> None:
        job = await self._revocations.read(connection_id)
        if job is None:
            # Its day is over, and with it the sealed credential.
            await self._giving_back.give_up(connection_id)
            log.warning("revocation.given_up", connection_id=connection_id)
            return
        ending = await self._giving_back.give_back(job)
        log.info("revocation.retried", connection_id=connection_id, outcome=ending.outcome)
