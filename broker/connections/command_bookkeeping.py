"""What a command does with events: telling the sink is for the brokers that serve, in whose settings it is named.

While one runs, events that wait are left to it, and what a command tells by itself is put where the broker finds it:
the shell may name another sink than the broker does, or none. Where none runs a command settles as a broker would. But
its standard output is for its answer; if that is the sink, events wait for the next broker.

Whether a broker runs is told by who beats, not by who leads in settling: a lead runs out during a long look.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from broker.clock import Clock
from broker.connections.bookkeeping import Bookkeeping
from broker.errors import StoreUnavailable
from broker.models.event import Event
from broker.models.ids import bucket_of
from broker.observe.sink import Sink
from broker.vault import names
from broker.vault.journal import Journal
from broker.vault.records import Records
from broker.vault.replicas import Replicas

_PATIENCE: Final = 3.0
_LOOKS_EVERY: Final = 0.1
"""Seconds."""


class CommandBookkeeping(Bookkeeping):
    """Leaves events to the broker that runs, if one does."""

    def __init__(
        self,
        journal: Journal,
        records: Records,
        sink: Sink,
        clock: Clock,
        replicas: Replicas,
        *,
        patience: float = _PATIENCE,
    ) -> None:
        """:param patience: seconds that a broker gets to bring in what waits: it looks every two."""
        super().__init__(journal, records, sink, clock)
        self._replicas = replicas
        self._patience = patience

    async def settle_all(self) -> int:
        """Settle what every bucket holds, or leave it to whoever does; answers how many events this call moved."""
        return 0 if await self._leaves() else await super().settle_all()

    async def settle_connection(self, connection_id: str) -> None:
        """Settle the bucket of one connection, or leave it."""
        if not await self._leaves():
            await super().settle_connection(connection_id)

    async def bring_in(self, connection_id: str | None = None) -> int:
        """Give the broker a moment to bring in what was recorded before the call; bring it in where none runs.

        :returns: how many events are left waiting: the sink doesn't take them, or a broker has more to do.
        :raises StoreUnavailable: the store can't be reached. A sink that can't be written is no fault here.
        """
        buckets = names.buckets() if connection_id is None else [bucket_of(connection_id)]
        there = await self._journal.newest(buckets)
        if await self._replicas.serving():
            there = await self._left_of(there)
        else:
            # Was it the store and not the sink, the next look says so.
            with suppress(StoreUnavailable):
                await super().bring_in(connection_id)
            there = await self._journal.held(there)
        return sum((await self._journal.waiting(list(there))).values())

    async def enter(self, events: Sequence[Event]) -> None:
        """Write events down at once that stand in no outbox; the sink has them from this process or from a broker.

        :raises StoreUnavailable: the store, or the sink, does not take them.
        """
        if not await self._leaves():
            await super().enter(events)
            return
        await self._journal.note_for_sink(events)
        await self._journal.write(events)

    async def tell(self, event: Event) -> None:
        """Tell the sink alone, or have a broker do it.

        :raises StoreUnavailable: it does not take it, or the store doesn't.
        """
        await (self._journal.note_for_sink([event]) if await self._leaves() else super().tell(event))

    async def _left_of(self, there: dict[int, bytes | str]) -> dict[int, bytes | str]:
        """What of it is left after a moment, or sooner if nothing is."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while there and loop.time() < until:
            await asyncio.sleep(_LOOKS_EVERY)
            there = await self._journal.held(there)
        return there

    async def _leaves(self) -> bool:
        return self._sink.is_output or bool(await self._replicas.serving())
