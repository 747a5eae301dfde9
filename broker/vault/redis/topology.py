"""Which node of a Cluster serves which slot: https://valkey.io/topics/cluster-spec/.

The map is learnt from any node that answers CLUSTER SLOTS, over short connections of their own, and learnt anew when a
node redirects (MOVED), is lost, or says that the Cluster is down. It is asked for at most every so often, so a broken
Cluster isn't hammered by all requests that meet it, and requests that come meanwhile use the map there is.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import RedisError

from broker.errors import StoreUnavailable
from broker.settings.store_address import Node
from broker.vault.redis.connecting import Ask
from broker.vault.redis.refusals import FAILOVER_SECONDS
from broker.vault.redis.store import Reply

SLOTS: Final = REDIS_CLUSTER_HASH_SLOTS
_ASKED_AT_ONCE: Final = 3
_UNKNOWN_HOST: Final = "?"

log = structlog.get_logger(__name__)


class Topology:
    """The slot map of one Cluster."""

    def __init__(
        self,
        seeds: Sequence[Node],
        asker_of: Callable[[Node], Ask],
        *,
        asked_every: float,
        changed: Callable[[Collection[Node]], None],
    ) -> None:
        """
        :param seeds: nodes to ask as long as no others are known, or none of those answers.
        :param asked_every: seconds between two questions for the map.
        :param changed: told the primaries whenever they have become others.
        """
        self._seeds = tuple(seeds)
        self._asker_of = asker_of
        self._asked_every = asked_every
        self._changed = changed
        self._owners: list[Node | None] = []
        self._primaries: tuple[Node, ...] = ()
        self._suspects: set[Node] = set()
        self._not_before = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._asking = False
        """Whether nodes are being asked, and not only the moment waited for at which they may be."""

    @property
    def primaries(self) -> tuple[Node, ...]:
        """The nodes that have slots; empty as long as nothing is known."""
        return self._primaries

    @property
    def unserved(self) -> int:
        """How many slots no node serves."""
        return self._owners.count(None)

    async def owner(self, slot: int | None) -> Node:
        """The node to send a command to; ``None``: a command without keys, which any of them can answer.

        :raises StoreUnavailable: no node is known to serve the slot.
        """
        node = self._known(slot)
        if node is None or node in self._suspects:
            await self.refresh()
            node = self._known(slot)
        if node is None:
            raise StoreUnavailable("no node of the Cluster serves this key", retry_after=FAILOVER_SECONDS)
        return node

    def moved(self, slot: int | None, node: Node) -> None:
        """``slot`` is at ``node`` now, says the one that had it; others may have moved as well."""
        if slot is not None:
            self._owners[slot] = node
        self._refresh_soon()

    def suspect(self, node: Node) -> None:
        """``node`` could not be reached or can't serve: look for another one before it is used again."""
        self._suspects.add(node)
        self._refresh_soon()

    def trust(self, node: Node) -> None:
        """``node`` answered."""
        self._suspects.discard(node)

    async def refresh(self) -> None:
        """Learn the map anew, unless that was just tried; then what is known has to do, and it is learnt in a moment.

        :raises StoreUnavailable: there is no map, and nobody answers.
        """
        self._refresh_soon()
        if self._asking:
            await self._refreshed()
        if not self._owners:
            raise StoreUnavailable("no node of the Cluster can be reached", retry_after=FAILOVER_SECONDS)

    async def learn(self) -> Sequence[Node | None]:
        """The map of this moment, slot by slot, even if that takes a moment.

        :raises StoreUnavailable: there is no map, and nobody answers.
        """
        if self._asking:
            await self._refreshed()  # what it answers may be from before
        self._refresh_soon()
        await self._refreshed()
        if not self._owners:
            raise StoreUnavailable("no node of the Cluster can be reached", retry_after=FAILOVER_SECONDS)
        return tuple(self._owners)

    async def aclose(self) -> None:
        """End a question that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _known(self, slot: int | None) -> Node | None:
        if not self._owners:
            return None
        if slot is not None:
            return self._owners[slot]
        return next((node for node in self._primaries if node not in self._suspects), self._primaries[0])

    async def _refreshed(self) -> None:
        if self._refreshing is not None:
            # One caller who gives up must not end it for the others.
            await asyncio.shield(self._refreshing)

    def _refresh_soon(self) -> None:
        if self._refreshing is not None and not self._refreshing.done():
            return
        delay = self._not_before - asyncio.get_running_loop().time()
        self._asking = delay <= 0
        self._refreshing = asyncio.create_task(self._ask_after(delay), name="store Cluster map")

    async def _ask_after(self, delay: float) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        self._asking = True
        self._not_before = asyncio.get_running_loop().time() + self._asked_every
        try:
            await self._ask_around()
        finally:
            self._asking = False

    async def _ask_around(self) -> None:
        # Those that don't answer come last, the others in any order, to spread the questions.
        known = sorted(self._primaries, key=lambda node: (node in self._suspects, random.random()))  # noqa: S311
        candidates = list(dict.fromkeys((*known, *self._seeds)))
        for start in range(0, len(candidates), _ASKED_AT_ONCE):
            owners = await self._first_map(candidates[start : start + _ASKED_AT_ONCE])
            if owners:
                self._take(owners)
                return

    async def _first_map(self, candidates: Sequence[Node]) -> list[Node | None]:
        """What the first of these answers; empty if none knows anything."""
        tasks = {asyncio.create_task(self._map_of(node)) for node in candidates}
        try:
            for answer in asyncio.as_completed(tasks):
                if owners := await answer:
                    return owners
            return []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _map_of(self, node: Node) -> list[Node | None]:
        try:
            (reply,) = await self._asker_of(node)(("CLUSTER", "SLOTS"))
            return _parsed(reply, node)
        except (RedisError, OSError, TimeoutError):
            return []
        except (ValueError, TypeError, IndexError, AttributeError):
            log.warning("store.cluster_map_unreadable", node=str(node))
            return []

    def _take(self, owners: list[Node | None]) -> None:
        self._owners = owners
        primaries = tuple(dict.fromkeys(node for node in owners if node is not None))
        if set(primaries) != set(self._primaries):
            self._suspects &= set(primaries)
            self._changed(primaries)
        self._primaries = primaries


def _parsed(reply: Reply, asked: Node) -> list[Node | None]:
    """Slot → its primary, from a CLUSTER SLOTS answer; empty if no slot is served."""
    owners: list[Node | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_replicas in reply:
        # No host means the one that was asked: it doesn't know by which name it is reached.
        name = host.decode() if host else asked.host
        if name != _UNKNOWN_HOST:
            owners[first : last + 1] = [Node(name, int(port))] * (last - first + 1)
    return owners if any(owners) else []
