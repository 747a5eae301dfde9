"""Who may refresh a connection now, and what is known of refreshes that were begun before.

A lease is a name with an end: only its owner can renew or drop it. An intent is what stays of a refresh until its
outcome is known: it is noted, durably, as the last step before anything is sent, and only by who still holds the lease.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import SealBroken
from broker.models.connection import Connection
from broker.vault import names, scripts
from broker.vault.redis.store import Store
from broker.vault.stored import UNREADABLE

_MILLISECONDS: Final = 15_000
_LATEST: Final = 2**53
"""Milliseconds. Whatever is later is no time that somebody noted."""


@dataclass(frozen=True, slots=True)
class Flight:
    """Who sent the refresh token, lost the lease and has not come back since: gone for ever, or about to store what the
    provider answered."""

    owner: str
    since: int
    """When it was sent (ms)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to refresh one generation of a connection, until it runs out or is dropped."""

    connection_id: str
    owner: str
    unknown_since: int | None
    """When an earlier refresh of this generation was begun (ms) of which nobody knows how it ended, or ``None``."""
    in_flight: Flight | None = None
    """What somebody else sent under a lease on this generation, or ``None``."""


class Leases:
    """Leases on connections."""

    def __init__(self, store: Store, *, milliseconds: int = _MILLISECONDS) -> None:
        """:param milliseconds: how long a lease lasts, from when it is taken, renewed or an intent is noted."""
        self._store = store
        self.milliseconds = milliseconds

    async def take(self, connection: Connection, owner: str) -> Lease | str:
        """Take the lease on refreshing this generation; the same owner can repeat it.

        Answers the lease, or ``"busy"``, ``"newer"`` or ``"gone"``.

        :raises SealBroken: what is noted of earlier refreshes is damaged; the lease is given back.
        """
        reply = await self._store.run(
            scripts.LEASE,
            [names.record(connection.id), names.lease(connection.id)],
            [owner, self.milliseconds, connection.generation],
        )
        if reply[0] != b"mine":
            return str(reply[0].decode())
        try:
            intent, flight = (_noted(note) if note else None for note in reply[1:])
        except UNREADABLE:
            # Others need not wait for it to run out, to be told the same.
            await self.drop(Lease(connection.id, owner, None))
            raise SealBroken(f"the stored record of {connection.id} is damaged") from None
        return Lease(connection.id, owner, unknown_since=intent.since if intent else None, in_flight=flight)

    async def intend(self, lease: Lease, connection: Connection, *, started: int) -> bool:
        """Note that a refresh of this generation is begun at ``started`` (ms), and prolong the lease.

        An earlier intent stays: it says since when the outcome is unknown. ``False``: the lease or the generation is
        lost, and nothing may be sent.
        """
        intent: Mapping[str, Any] = {"generation": connection.generation, "owner": lease.owner, "started": started}
        noted = await self._store.commit(
            scripts.LEASE_INTEND,
            [names.record(connection.id), names.lease(connection.id)],
            [lease.owner, self.milliseconds, connection.generation, json.dumps(intent)],
        )
        # Replicas are waited for, where the operator asked for that, but a refresh is not given up for them. A failover
        # that forgets the intent does harm only if the answer gets lost as well, or this process dies before it has
        # stored it: then the refresh token is sent again as if for the first time.
        await noted.confirmed
        return bool(noted.reply)

    async def renew(self, lease: Lease) -> bool:
        """Prolong the lease; ``False`` if it ran out meanwhile."""
        reply = await self._store.run(
            scripts.LEASE_RENEW, [names.lease(lease.connection_id)], [lease.owner, self.milliseconds]
        )
        return bool(reply)

    async def forget_flight(self, lease: Lease) -> None:
        """Who is in flight beside this lease was waited for in vain: nobody needs to do that again.

        Should somebody else have sent meanwhile, that stays noted.
        """
        if lease.in_flight is not None and lease.in_flight.owner != lease.owner:
            # As if that one had given its lease back, which it has not had for long.
            await self.drop(Lease(lease.connection_id, lease.in_flight.owner, None))

    async def drop(self, lease: Lease, *, nothing_open: bool = False) -> None:
        """Give the lease back, if it is still ours.

        :param nothing_open: whatever was sent under it was answered, so an intent that it noted is settled.
        """
        keys = [names.lease(lease.connection_id), names.record(lease.connection_id)]
        await self._store.run(scripts.LEASE_DROP, keys, [lease.owner, "1" if nothing_open else ""])


def _noted(note: bytes) -> Flight:
    """Who noted an intent, and when."""
    document = json.loads(note)
    owner, started = document["owner"], document["started"]
    if type(owner) is not str or type(started) is not int or abs(started) > _LATEST:
        raise ValueError("no intent")
    return Flight(owner, started)
