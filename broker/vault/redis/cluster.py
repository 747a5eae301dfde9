"""A Cluster as one store: each command goes to the node that serves its key.

Every primary has a :class:`Pipeline` of its own, so commands for one node are batched together and a node that is lost
takes nobody else's commands with it. A redirection means that the command did not run, so it is sent on: after MOVED to
the node it names, after ASK there with ASKING before it. Everything else that goes wrong is a 503, never a second try.

While a slot is moved by MIGRATE, scripts on several keys of which some are not there are refused by both nodes
(TRYAGAIN): that slot's connections answer 503 until it has arrived. Moving slots atomically (Valkey 9) has no such gap.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Final

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError

from broker.errors import StoreUnavailable
from broker.settings.store_address import Node
from broker.vault.redis.connecting import Ask
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.refusals import refused
from broker.vault.redis.sent import Sent
from broker.vault.redis.store import Argument, Commit, Confirmation, Reply, evaluate
from broker.vault.redis.topology import Topology
from broker.vault.scripts import Script

_REDIRECTIONS: Final = 4
_SCANS: Final = 3
_REARRANGED_SECONDS: Final = 2
_KEYLESS: Final = frozenset({"PING", "INFO", "TIME", "CLUSTER", "SCRIPT", "CLIENT", "CONFIG", "DBSIZE"})
_KEY_COMES_LATER: Final = {"EVAL": 3, "EVALSHA": 3, "OBJECT": 2, "MEMORY": 2, "XINFO": 2, "XGROUP": 2}
"""Where the first key stands, if it is not the first argument."""


class ClusterStore:
    """A store of many servers."""

    def __init__(
        self,
        seeds: Sequence[Node],
        *,
        asker_of: Callable[[Node], Ask],
        open_node: Callable[[Node], Pipeline],
        retired_after: float,
        asked_every: float = 0.5,
    ) -> None:
        """
        :param seeds: nodes that are asked for the others.
        :param asker_of: how a node is asked who serves which slots.
        :param open_node: a pipeline to a node.
        :param retired_after: seconds that a node which left is given to answer what was sent to it.
        :param asked_every: seconds between two questions for the slot map.
        """
        self.topology: Final = Topology(seeds, asker_of, asked_every=asked_every, changed=self._primaries_changed)
        self._open_node = open_node
        self._retired_after = retired_after
        self._pipelines: dict[Node, Pipeline] = {}
        self._retiring: dict[asyncio.Task[None], Pipeline] = {}
        self._closed = False

    async def execute(self, *parts: Argument) -> Reply:
        """Run one command at the node of its key, or at any if it has none.

        :raises StoreUnavailable: no connection, no answer by the deadline, too much waiting, or an error reply.
        """
        try:
            sent = await self._send(slot_of_command(parts), parts)
        except ResponseError as error:
            raise refused(error) from None
        return sent.answer.result()

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """Run a script at the node of its keys.

        :raises StoreUnavailable: as :meth:`execute`.
        """
        slot = slot_of(keys[0])
        try:
            sent = await evaluate(lambda parts: self._send(slot, parts), script, keys, arguments)
        except ResponseError as error:
            raise refused(error) from None
        return sent.answer.result()

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """Run a script whose write must not get lost; the replicas of its node confirm it.

        :raises StoreUnavailable: as :meth:`execute`.
        """
        slot = slot_of(keys[0])
        try:
            sent = await evaluate(lambda parts: self._send(slot, parts, commit=True), script, keys, arguments)
        except ResponseError as error:
            raise refused(error) from None
        return Commit(sent.answer.result(), Confirmation(sent.confirmed))

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """All keys that match ``pattern``, page by page, of every node.

        A key that moves from a node not yet scanned to one that was would be missed, so it is all scanned again when
        slots moved meanwhile, and not at all while one is on its way.

        :raises StoreUnavailable: as :meth:`execute`, or slots keep moving.
        """
        before = await self._layout()
        for _ in range(_SCANS):
            for node in dict.fromkeys(node for node in before if node is not None):
                async for page in self._pipeline(node).scan(pattern):
                    yield page
            after = await self._layout()
            if after == before:
                return
            before = after
        raise _rearranged()

    async def _layout(self) -> Sequence[Node | None]:
        """Slot → node, with no slot on its way."""
        layout = await self.topology.learn()
        for node in self.topology.primaries:
            listed = bytes(await self._pipeline(node).execute("CLUSTER", "NODES"))
            # A node lists slots that it gives away or receives in brackets, behind its own entry.
            if any(b"myself" in line and b"[" in line for line in listed.splitlines()):
                raise _rearranged()
        return layout

    async def infos(self) -> Mapping[str, Reply | StoreUnavailable]:
        """The INFO of every primary, or why there is none; and whether some slots have no primary."""
        try:
            await self.topology.refresh()
        except StoreUnavailable as error:
            return {"": error}
        nodes = self.topology.primaries
        answers = await asyncio.gather(*map(self._info, nodes))
        found = {str(node): answer for node, answer in zip(nodes, answers, strict=True)}
        if unserved := self.topology.unserved:
            found["Cluster"] = StoreUnavailable(f"{unserved} slots are served by no node")
        return found

    async def _info(self, node: Node) -> Reply | StoreUnavailable:
        pipeline = self._pipeline(node)
        try:
            info, state = await asyncio.gather(pipeline.execute("INFO"), pipeline.execute("CLUSTER", "INFO"))
        except StoreUnavailable as error:
            self.topology.suspect(node)
            return error
        if b"cluster_state:ok" not in bytes(state):
            return StoreUnavailable("the node finds the Cluster down")
        return info

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and let go of every connection."""
        self._closed = True
        pipelines = [*self._pipelines.values(), *self._retiring.values()]
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(self.topology.aclose(), *(pipeline.aclose() for pipeline in pipelines))

    async def _send(self, slot: int | None, parts: Sequence[Argument], *, commit: bool = False) -> Sent:
        """Send a command to the node of ``slot``, and on where it redirects; answers once it has been answered.

        :raises ResponseError: an error reply that is no redirection.
        :raises StoreUnavailable: no node, no connection, no answer.
        """
        node, asking = await self.topology.owner(slot), False
        for _ in range(_REDIRECTIONS):
            try:
                sent = self._pipeline(node).submit(parts, asking=asking, commit=commit)
                await sent.answer
            except AskError as redirection:
                asking = not isinstance(redirection, MovedError)
                target = Node(redirection.host or node.host, redirection.port)
                if not asking:
                    self.topology.moved(slot, target)
                node = target
            except (ClusterDownError, ReadOnlyError, StoreUnavailable):
                self.topology.suspect(node)
                raise
            else:
                self.topology.trust(node)
                return sent
        raise _rearranged()

    def _pipeline(self, node: Node) -> Pipeline:
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        if node not in self._pipelines:
            self._pipelines[node] = self._open_node(node)
        return self._pipelines[node]

    def _primaries_changed(self, primaries: Collection[Node]) -> None:
        for node in [node for node in self._pipelines if node not in primaries]:
            pipeline = self._pipelines.pop(node)
            task = asyncio.create_task(self._retire(pipeline), name="store node retires")
            self._retiring[task] = pipeline
            task.add_done_callback(lambda done: self._retiring.pop(done, None))

    async def _retire(self, pipeline: Pipeline) -> None:
        await asyncio.sleep(self._retired_after)
        await pipeline.aclose()


def slot_of(key: str | bytes) -> int:
    """The hash slot of a key."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def slot_of_command(parts: Sequence[Argument]) -> int | None:
    """The hash slot of a command's first key; ``None`` if it has none."""
    name = parts[0].decode() if isinstance(parts[0], bytes) else str(parts[0])
    position = _KEY_COMES_LATER.get(name.upper(), 1)
    if name.upper() in _KEYLESS or len(parts) <= position:
        return None
    key = parts[position]
    return slot_of(key if isinstance(key, bytes) else str(key))


def _rearranged() -> StoreUnavailable:
    return StoreUnavailable("the Cluster is being rearranged", retry_after=_REARRANGED_SECONDS)
