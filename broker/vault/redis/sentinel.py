"""A store whose primary is known to sentinels: https://valkey.io/topics/sentinel-clients/.

Each time a connection is opened the sentinels are asked who the primary is; the answer with the newest configuration
counts, so that one sentinel that was cut off can't lead us back to an old primary. What listens there is examined
before it is used (a replica is refused), so a wrong answer costs a 503 and nothing else.

A primary that still answers but was replaced is left, too: while a connection is used, the sentinels are asked anew
every few seconds, beside the commands, and a connection that leads elsewhere is given up between two batches. Writes
that such a primary took in between are lost with it, unless replicas had confirmed them.
"""

import asyncio
from typing import Final

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from broker.errors import StoreUnavailable
from broker.settings.store_address import Node, StoreAddress
from broker.vault.redis.connecting import Ask, Connect, asker, connector
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.refusals import FAILOVER_SECONDS

_OTHERS_SECONDS: Final = 0.1
"""How long the other sentinels are waited for once one has answered."""

log = structlog.get_logger(__name__)


class Sentinels:
    """Where the primary is, and whether it still is there."""

    def __init__(
        self, address: StoreAddress, *, connect_timeout: float, ask_within: float, checked_every: float
    ) -> None:
        """
        :param ask_within: seconds after which sentinels that have not answered are passed over.
        :param checked_every: seconds between two looks at whether an open connection still leads to the primary.
        :raises ConfigurationError: the address has an option that can't be used.
        """
        self._address = address
        self._connect_timeout = connect_timeout
        self._ask_within = ask_within
        self._checked_every = checked_every
        self._sentinels: list[Ask] = [asker(address.url_of_sentinel(node), within=ask_within) for node in address.nodes]
        self._connector_to(address.nodes[0])  # tells now what the address asks for in vain
        self._primary: Node | None = None
        self._next_check = 0.0
        self._check: asyncio.Task[None] | None = None

    async def connect(self) -> AbstractConnection:
        """A connection to the present primary, as it has to be examined.

        :raises StoreUnavailable: no sentinel answers, none knows the service, or nobody listens where it should be.
        """
        self._primary = await self.find_primary()
        self._next_check = asyncio.get_running_loop().time() + self._checked_every
        try:
            return await self._connector_to(self._primary)()
        except BusyLoadingError:
            raise
        except (RedisError, OSError):
            found = "the primary that the sentinels name can't be reached"
            raise StoreUnavailable(found, retry_after=FAILOVER_SECONDS) from None

    async def find_primary(self) -> Node:
        """Ask the sentinels.

        :raises StoreUnavailable: none answers, or none knows the service.
        """
        tasks = [asyncio.create_task(self._answer_of(ask)) for ask in self._sentinels]
        try:
            await self._enough(tasks)
            answers = [task.result() for task in tasks if task.done() and task.exception() is None]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not answers:
            raise StoreUnavailable("no sentinel can be reached", retry_after=FAILOVER_SECONDS)
        found = [answer for answer in answers if answer is not None]
        if not found:
            raise StoreUnavailable("no sentinel knows the service that BROKER_REDIS_URL names", retry_after=5)
        return max(found)[1]

    def outdated(self, connection: AbstractConnection) -> bool:
        """Whether the sentinels meanwhile name another primary than the one that ``connection`` leads to."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_check:
            self._next_check = now + self._checked_every
            if self._check is None or self._check.done():
                self._check = asyncio.create_task(self._look_again(), name="store sentinel check")
        at = Node(getattr(connection, "host", ""), int(getattr(connection, "port", 0)))
        return self._primary is not None and self._primary != at

    async def aclose(self) -> None:
        """End a look that is under way."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.gather(self._check, return_exceptions=True)

    async def _look_again(self) -> None:
        try:
            found = await self.find_primary()
        except StoreUnavailable:
            return  # sentinels that are gone say nothing against the primary
        if found != self._primary:
            log.warning("store.primary_changed", primary=str(found))
            self._primary = found

    async def _enough(self, tasks: "list[asyncio.Task[tuple[int, Node] | None]]") -> None:
        """Wait for a first answer, and a moment for the others."""
        waited: set[asyncio.Task[tuple[int, Node] | None]] = set(tasks)
        while waited:
            done, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if waited and any(task.exception() is None for task in done):
                await asyncio.wait(waited, timeout=_OTHERS_SECONDS)
                return

    async def _answer_of(self, ask: Ask) -> tuple[int, Node] | None:
        """The epoch of a sentinel's configuration and the primary it names; ``None``: it doesn't know the service."""
        service = self._address.service
        try:
            where, facts = await ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service), ("SENTINEL", "MASTER", service))
        except ResponseError as error:
            if "No such master" in str(error):
                return None
            raise
        if where is None:
            return None
        pairs = dict(zip(facts[::2], facts[1::2], strict=True))
        return int(pairs.get(b"config-epoch", 0)), Node(where[0].decode().lower(), int(where[1]))

    def _connector_to(self, node: Node) -> Connect:
        return connector(self._address.url_of(node), connect_timeout=self._connect_timeout)


class SentinelStore(Pipeline):
    """A store of one server at a time: whichever is the primary."""

    def __init__(self, sentinels: Sentinels, connect: Connect, *, deadline: float, wait_replicas: int) -> None:
        """``connect`` examines what :meth:`Sentinels.connect` opens."""
        super().__init__(connect, deadline=deadline, wait_replicas=wait_replicas, outdated=sentinels.outdated)
        self._sentinels = sentinels

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and let go of every connection."""
        await super().aclose()
        await self._sentinels.aclose()
