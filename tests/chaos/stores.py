"""The store of one lane: a server with its append-only file, or a primary and its replica; and what befalls it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.cases import Store
from tests.chaos.line import StoreLine
from tests.vault.server_process import Start, TestServer, servers
from tests.vault.servers import in_step

_DURABLE = ("--appendfsync", "always")


class LaneStore:
    """Servers on loopback, and the lines that lead to the one that is primary."""

    def __init__(self, primary: TestServer, feed: StoreLine) -> None:
        self._primary = primary
        self._replica: TestServer | None = None
        self._feed = feed
        """How a replica gets what its primary writes."""
        self._lines: list[StoreLine] = []

    @property
    def replicas(self) -> int:
        """For ``BROKER_STORE_WAIT_REPLICAS``."""
        return int(self._replica is not None)

    async def replicate(self, start: Start) -> None:
        """Add a replica, and wait until it has everything."""
        await self._feed.heal()
        follow = ("--replicaof", self._feed.address.replace(":", " "))
        self._replica = await asyncio.to_thread(start, *_DURABLE, *follow)
        await asyncio.to_thread(in_step, self._replica)

    async def line(self) -> StoreLine:
        """A line of its own for one broker."""
        line = StoreLine(_address(self._primary))
        await line.heal()
        self._lines.append(line)
        return line

    def precede(self, what: Store) -> None:
        """What has to be so before the refreshes begin."""
        if what is Store.FAILED_OVER_BEHIND:
            self._feed.stall_answers()

    async def befall(self, what: Store) -> None:
        """``kill -9``, where the case has it so. A replica has got everything that was answered until then, or what
        was written before it fell behind."""
        if what is Store.FAILED_OVER:
            assert self._replica is not None
            await asyncio.to_thread(in_step, self._replica)
        if what is not Store.FINE and what is not Store.ANSWER_LOST:
            await asyncio.to_thread(self._primary.kill)
        if what.replicated:
            await self._feed.cut()

    async def recover(self, what: Store) -> None:
        """The server comes up again, or the replica takes its place."""
        if what is Store.KILLED:
            await asyncio.to_thread(self._primary.start)
        if what.replicated:
            assert self._replica is not None
            self._primary, self._replica = self._replica, self._primary
            with self._primary.client() as client:
                client.replicaof("NO", "ONE")
            for line in [*self._lines, self._feed]:
                line.lead_to(_address(self._primary))

    async def mend(self, what: Store) -> None:
        """All is as at the start again: where there was a replica, there is one."""
        if what.replicated:
            self._feed.release_answers()
            await self._feed.heal()
            await asyncio.to_thread(self._follow)

    def _follow(self) -> None:
        assert self._replica is not None
        self._replica.start()
        host, _, port = self._feed.address.partition(":")
        with self._replica.client() as client:
            client.replicaof(host, port)
        in_step(self._replica)

    async def aclose(self) -> None:
        """Close the lines."""
        await asyncio.gather(*(line.cut() for line in [*self._lines, self._feed]))


@asynccontextmanager
async def lane_store(*, replicated: bool) -> AsyncIterator[LaneStore]:
    """A store that ends with the block."""
    with servers() as start:
        primary = await asyncio.to_thread(start, *_DURABLE)
        store = LaneStore(primary, StoreLine(_address(primary)))
        try:
            if replicated:
                await store.replicate(start)
            yield store
        finally:
            await store.aclose()


def _address(server: TestServer) -> str:
    return f"127.0.0.1:{server.port}"
