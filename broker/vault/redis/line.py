"""An open connection in use: what was sent over it gets the answers in the order in which it was sent.

Batches are sent while earlier ones are still being answered, so the server and this process work at the same time.
Answers are read as they come, between batches, too: the end of an idle connection is noticed before anything is sent
into it. Only a lost or late connection fails what is on its way: then nobody knows what ran.

redis-py opens the connection and greets the server; from then on answers go from the socket to hiredis and to whoever
waits for them, without the stream, the task and the coroutines per answer that its own way of reading takes.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

import hiredis
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the store's, not the system's
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
)

from broker.errors import StoreUnavailable
from broker.vault.redis.sent import Sent

LOADING_SECONDS: Final = 5

_MORE: Final = object()
"""What hiredis answers while an answer is incomplete."""
SILENT: Final = "the store did not answer"
UNREACHED: Final = "the store can't be reached"

log = structlog.get_logger(__name__)


class Line(asyncio.Protocol):
    """One connection, as long as it is good for anything."""

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        deadline: float,
        settled: Callable[[], None],
        ended: Callable[["Line"], None],
    ) -> None:
        """
        :param connection: open; the line owns it from here on.
        :param deadline: seconds that an answer may take.
        :param settled: told when a batch is no longer on its way.
        :param ended: told when the connection is gone.
        """
        self.connection: Final = connection
        assert connection._writer is not None  # noqa: S101 - it is open
        self._transport = cast("asyncio.Transport", connection._writer.transport)
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection._parser.parse_error, notEnoughData=_MORE
        )
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._settled = settled
        self._ended = ended
        self._on_its_way: deque[Sent] = deque()
        self._due: deque[float] = deque()
        """When each batch that is on its way has to be answered."""
        self._retired = False
        self._gone = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            # It told whoever had it before, and tells nobody else.
            self._loop.call_soon(self.connection_lost, None)

    @property
    def usable(self) -> bool:
        """Whether anything more can be sent."""
        return not self._retired

    @property
    def batches(self) -> int:
        """How many are on their way."""
        return len(self._due)

    @property
    def load(self) -> int:
        """How many commands are on their way."""
        return len(self._on_its_way)

    def send(self, batch: Sequence[Sent]) -> None:
        """Send a batch. Its commands learn by themselves what became of them."""
        due = self._loop.time() + self._deadline
        batch[-1].ends_batch = True
        self._on_its_way.extend(batch)
        self._due.append(due)
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._look)
        # A server that reads no more holds nothing up but this: the deadline ends it, and there are few batches.
        self._transport.write(b"".join([sent.packed for sent in batch]))

    def give_up(self, now: float) -> float | None:
        """Tell those whose time is over that there is no answer, which may still come; answers whose time is next."""
        for sent in self._on_its_way:
            if sent.due > now:
                return sent.due
            sent.fail(StoreUnavailable(SILENT))
        return None

    def retire(self) -> None:
        """Send nothing more, and close when all that is on its way has been answered."""
        self._retired = True
        if not self._on_its_way:
            self.close()

    def close(self) -> None:
        """Fail what is on its way, and close."""
        self._lose("the command was not carried out")

    async def aclose(self) -> None:
        """The same, and wait until the connection is gone."""
        self.close()
        await self._gone.wait()

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        """Answers, or parts of them."""
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _MORE:
                self._answered(reply)
        except InvalidResponse:
            self._lose(SILENT)
        except Exception as error:
            # What nobody foresaw must not leave callers waiting for ever. Its text may quote what was sent, so the
            # log gets its type and its way through the code.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("store.failed_unexpectedly", error=type(error).__name__, trace=trace)
            self._lose("the store can't be used, see the broker's log")

    def connection_lost(self, exc: Exception | None) -> None:
        """The server, or the way to it, is gone."""
        self._gone.set()
        self._lose(SILENT)
        self._ended(self)

    def _answered(self, reply: object) -> None:
        if isinstance(reply, BusyLoadingError):
            self._lose("the store is still loading its data", retry_after=LOADING_SECONDS)
            return
        if not self._on_its_way or isinstance(reply, ConnectionError):
            # Nobody asked; or it says that it will hang up.
            self._lose(SILENT)
            return
        sent = self._on_its_way[0]
        if sent.asking:
            # If this is an error, what follows fails by itself, with a reply that says so.
            sent.asking = False
            return
        if not isinstance(reply, ResponseError):
            sent.succeed(reply)
        else:
            sent.fail(reply)
            # A node that became a replica: the next connection may reach the primary.
            self._retired = self._retired or isinstance(reply, ReadOnlyError | MasterDownError)
        self._on_its_way.popleft()
        if sent.ends_batch:
            self._due.popleft()
            self._settled()
        if self._retired and not self._on_its_way:
            self.close()

    def _look(self) -> None:
        """Give the connection up if the oldest answer is overdue."""
        self._watch = None
        if self._due and self._loop.time() < self._due[0]:
            self._watch = self._loop.call_at(self._due[0], self._look)
        elif self._due:
            self._lose(SILENT)

    def _lose(self, reason: str, *, retry_after: int = 1) -> None:
        self._retired = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._on_its_way:
            self._on_its_way.popleft().fail(StoreUnavailable(reason, retry_after=retry_after))
        # With answers still to come it would hand them to others. And closing would keep what the server has not read
        # yet, and send it after all once it reads again.
        self._transport.abort()
        self.connection._close()  # type: ignore[no-untyped-call]  # what redis-py itself has of it
        self._due.clear()
        self._settled()
