"""An open connection in use: what was sent over it gets the answers in the order in which it was sent.

Batches are sent while earlier ones are still being answered, so the server and this process work at the same time; one
task reads, all the time, so that the end of an idle connection is noticed before anything is sent into it. Only a lost
or late connection fails what is on its way: then nobody knows what ran.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError, ResponseError

from broker.errors import StoreUnavailable
from broker.vault.redis.sent import Sent

LOADING_SECONDS: Final = 5

log = structlog.get_logger(__name__)


class Line:
    """One connection, as long as it is good for anything."""

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        deadline: float,
        batches_at_once: int,
        ended: Callable[["Line"], None],
    ) -> None:
        """
        :param connection: open; the line owns it from here on.
        :param deadline: seconds that an answer may take.
        :param batches_at_once: how many may be on their way.
        :param ended: told when the connection is closed.
        """
        self.connection: Final = connection
        self._writer = connection._writer
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._batches_at_once = batches_at_once
        self._ended = ended
        self._on_its_way: deque[Sent] = deque()
        self._batches = 0
        self._room = asyncio.Event()
        self._room.set()
        self._retired = False
        self._watch: asyncio.TimerHandle | None = None
        self._reader = self._loop.create_task(self._read_on(), name="store answers")

    @property
    def usable(self) -> bool:
        """Whether anything more can be sent."""
        return not self._retired

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._on_its_way

    async def room(self) -> None:
        """Wait until another batch may be sent, or none may any more."""
        await self._room.wait()

    async def send(self, batch: Sequence[Sent]) -> None:
        """Send a batch. Its commands learn by themselves what became of them."""
        due = self._loop.time() + self._deadline
        for sent in batch:
            sent.due = due
        batch[-1].ends_batch = True
        self._on_its_way.extend(batch)
        self._batches += 1
        if self._batches >= self._batches_at_once:
            self._room.clear()
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._look)
        try:
            # A server that reads no more would hold this up, and with it what waits behind.
            async with asyncio.timeout_at(due):
                await self.connection.send_packed_command([sent.packed for sent in batch], check_health=False)
        except (RedisError, OSError, TimeoutError):
            self._lose("the store did not answer")
            self._reader.cancel()

    def retire(self) -> None:
        """Send nothing more, and close when all that is on its way has been answered."""
        self._retired = True
        self._room.set()
        if not self._on_its_way:
            self._reader.cancel()

    async def aclose(self) -> None:
        """Fail what is on its way, and close."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read_on(self) -> None:
        try:
            while not self._retired or self._on_its_way:
                try:
                    reply = await self.connection.read_response()
                except ResponseError as error:
                    self._answered(error)
                else:
                    self._answered(reply)
        except BusyLoadingError:
            self._lose("the store is still loading its data", retry_after=LOADING_SECONDS)
        except (RedisError, OSError):
            self._lose("the store did not answer")
        except Exception as error:
            # What nobody foresaw must not leave callers waiting for ever. Its text may quote what was sent, so the
            # log gets its type and its way through the code.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("store.failed_unexpectedly", error=type(error).__name__, trace=trace)
            self._lose("the store can't be used, see the broker's log")
        finally:
            # Shutting down, or nobody needs it any more: with answers still to come it would hand them to others.
            self._lose("the command was not carried out")
            self._ended(self)
            if self._writer is not None:
                # Closing would keep what the server has not read yet, and send it after all once it reads again.
                self._writer.transport.abort()
            await self.connection.disconnect(nowait=True)

    def _answered(self, reply: object) -> None:
        sent = self._on_its_way[0]
        if sent.asking:
            # If this is an error, what follows fails by itself, with a reply that says so.
            sent.asking = False
            return
        self._on_its_way.popleft()
        if sent.ends_batch:
            self._batches -= 1
            self._room.set()
        if not isinstance(reply, ResponseError):
            sent.succeed(reply)
            return
        sent.fail(reply)
        if isinstance(reply, ReadOnlyError | MasterDownError):
            # A node that became a replica: the next connection may reach the primary.
            self._retired = True
            self._room.set()

    def _look(self) -> None:
        """Give the connection up if the oldest answer is overdue."""
        self._watch = None
        if not self._on_its_way:
            return
        due = self._on_its_way[0].due
        if self._loop.time() < due:
            self._watch = self._loop.call_at(due, self._look)
        else:
            self._lose("the store did not answer")
            self._reader.cancel()

    def _lose(self, reason: str, *, retry_after: int = 1) -> None:
        self._retired = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._on_its_way:
            self._on_its_way.popleft().fail(StoreUnavailable(reason, retry_after=retry_after))
        self._room.set()
