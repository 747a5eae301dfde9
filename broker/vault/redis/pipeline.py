"""One server as a store: all its commands over one :class:`Stream`, commits over streams of their own.

A commit that waits for replicas blocks the connection it travels on until they answered or a second has passed. So
commits have connections besides the one that everything else shares, and a few of them, so that one replica that is
slow doesn't make one commit wait for another. They are opened when they are needed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from broker.errors import StoreUnavailable
from broker.vault.redis.connecting import Connect
from broker.vault.redis.refusals import refused
from broker.vault.redis.sent import Sent
from broker.vault.redis.store import Argument, Commit, Confirmation, Reply, evaluate
from broker.vault.redis.stream import Stream, Waiting
from broker.vault.scripts import Script

_SCANNED_AT_ONCE: Final = 500
_WRITERS: Final = 4
"""Connections that commits may occupy; beyond that they share."""
_CONFIRMED_WITHIN_MS: Final = 1_000
_PART_OF_DEADLINE: Final = 0.5
"""A batch has to be over by the deadline with its WAIT, or its connection is thrown away."""


class Pipeline:
    """A store of one server."""

    def __init__(
        self,
        connect: Connect,
        *,
        deadline: float = 2.0,
        max_waiting: int = 10_000,
        wait_replicas: int = 0,
        outdated: Callable[[AbstractConnection], bool] | None = None,
    ) -> None:
        """
        :param deadline: seconds that one batch, or opening a connection, may take.
        :param max_waiting: commands that may wait to be sent; one more is refused (backpressure).
        :param wait_replicas: how many replicas must hold a commit for it to be confirmed.
        :param outdated: whether a connection no longer leads to where ``connect`` would; asked before each batch.
        """

        def stream(waiting: Waiting | None = None) -> Stream:
            return Stream(connect, deadline=deadline, max_waiting=max_waiting, waiting=waiting, outdated=outdated)

        within = min(_CONFIRMED_WITHIN_MS, int(deadline * 1_000 * _PART_OF_DEADLINE))
        self._waiting = Waiting(wait_replicas, within) if wait_replicas else None
        self._new_stream = stream
        self._stream = stream()
        self._writers: list[Stream] = []

    async def execute(self, *parts: Argument) -> Reply:
        """Run one command and answer its reply.

        :raises StoreUnavailable: no connection, no answer by the deadline, too much waiting, or an error reply.
        """
        try:
            return await self._stream.submit(parts).answer
        except ResponseError as error:
            raise refused(error) from None

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """Run a script on ``keys``, which all lie in one slot.

        :raises StoreUnavailable: as :meth:`execute`.
        """
        try:
            return await evaluate(self._answered, script, keys, arguments)
        except ResponseError as error:
            raise refused(error) from None

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """Run a script whose write must not get lost.

        :raises StoreUnavailable: as :meth:`execute`.
        """
        if self._waiting is None:
            return Commit(await self.run(script, keys, arguments), Confirmation(None))
        try:
            return await evaluate(self._committed, script, keys, arguments)
        except ResponseError as error:
            raise refused(error) from None

    def submit(self, parts: Sequence[Argument], *, asking: bool = False, commit: bool = False) -> Sent:
        """Put a command down, for one who knows what error replies mean.

        :param asking: send ASKING before it.
        :param commit: let replicas confirm it, if any are asked for.
        :raises StoreUnavailable: closed, or too much waits already.
        """
        if commit and self._waiting is not None:
            return self._writer(self._waiting).submit(parts, asking=asking)
        return self._stream.submit(parts, asking=asking)

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """All keys that match ``pattern``, page by page."""
        cursor = b"0"
        while True:
            cursor, keys = await self.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED_AT_ONCE)
            yield [key.decode() for key in keys]
            if cursor == b"0":
                return

    async def infos(self) -> Mapping[str, Reply | StoreUnavailable]:
        """The INFO of the server, or why there is none."""
        try:
            return {"": await self.execute("INFO")}
        except StoreUnavailable as error:
            return {"": error}

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and close the connections."""
        for stream in (self._stream, *self._writers):
            await stream.aclose()

    def _answered(self, parts: Sequence[Argument]) -> Awaitable[Reply]:
        return self._stream.submit(parts).answer

    async def _committed(self, parts: Sequence[Argument]) -> Commit:
        sent = self.submit(parts, commit=True)
        return Commit(await sent.answer, Confirmation(sent.confirmed))

    def _writer(self, waiting: Waiting) -> Stream:
        """The one that is free soonest."""
        soonest = min(self._writers, key=lambda stream: stream.load, default=None)
        if soonest is None or (soonest.load and len(self._writers) < _WRITERS):
            soonest = self._new_stream(waiting)
            self._writers.append(soonest)
        return soonest
