"""One connection to one server, kept open: commands of concurrent requests travel as one batch.

Callers put a command down and wait; a single task takes everything that has gathered, sends it in one write and reads
the answers in order. While a batch is on its way the next one gathers, so under load hundreds of requests share one
system call and one ``fsync`` of the store, and with no load a command leaves at once.

Neighbours are kept apart: an error reply belongs to its command alone, a cancelled caller's command is dropped if
it has not left, and its answer is thrown away if it has. Only a lost or late connection fails a whole batch: then
nobody knows what ran, the connection is discarded, and each caller gets :class:`StoreUnavailable`. Nothing is ever
sent twice.

A stream that waits for replicas ends each batch with one WAIT: it counts who has all that this connection wrote, so it
has to travel on it, behind the writes. Answers are given out before WAIT is answered.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import hiredis
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError, ResponseError

from broker.errors import StoreUnavailable
from broker.vault.redis.connecting import Connect
from broker.vault.redis.store import Argument, Reply

_MAX_BATCH: Final = 512
_LOADING_SECONDS: Final = 5
_ASKING: Final = hiredis.pack_command(("ASKING",))

log = structlog.get_logger(__name__)


class Waiting(NamedTuple):
    """What is asked of replicas after each batch: https://valkey.io/commands/wait/."""

    replicas: int
    milliseconds: int
    """After which a batch is not confirmed. Meanwhile the connection carries nothing else."""


class Sent:
    """A command on its way: its answer, and whether replicas have it."""

    __slots__ = ("answer", "asking", "confirmed", "packed")

    def __init__(self, packed: bytes, *, asking: bool, waits: bool) -> None:
        loop = asyncio.get_running_loop()
        self.packed = packed
        self.asking = asking
        """Whether the command is preceded by ASKING, whose own reply is of no interest."""
        self.answer: asyncio.Future[Reply] = loop.create_future()
        """Raises the server's error reply as it is, or :class:`StoreUnavailable`."""
        self.confirmed: asyncio.Future[bool] | None = loop.create_future() if waits else None
        """``None``: nobody is asked for confirmation."""

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
        self.confirm(False)

    def succeed(self, reply: Reply) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def confirm(self, confirmed: bool) -> None:
        if self.confirmed is not None and not self.confirmed.done():
            self.confirmed.set_result(confirmed)


class Stream:
    """One ordered stream of commands to one server."""

    def __init__(
        self,
        connect: Connect,
        *,
        deadline: float,
        max_waiting: int,
        waiting: Waiting | None = None,
        outdated: Callable[[AbstractConnection], bool] | None = None,
    ) -> None:
        """
        :param deadline: seconds that one batch, or opening a connection, may take.
        :param max_waiting: commands that may wait to be sent; one more is refused (backpressure).
        :param outdated: whether a connection no longer leads to where ``connect`` would; asked before each batch.
        """
        self._connect = connect
        self._deadline = deadline
        self._max_waiting = max_waiting
        self._wait = waiting and hiredis.pack_command(("WAIT", waiting.replicas, waiting.milliseconds))  # type: ignore[arg-type]
        self._replicas = waiting.replicas if waiting else 0
        self._outdated = outdated
        self._waiting: deque[Sent] = deque()
        self._on_its_way = False
        self._something_waits = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def load(self) -> int:
        """How many commands there are ahead of one that is put down now, the batch on its way counting as one."""
        return len(self._waiting) + self._on_its_way

    def submit(self, parts: Sequence[Argument], *, asking: bool = False) -> Sent:
        """Put a command down.

        :raises StoreUnavailable: closed, or too much waits already.
        """
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise StoreUnavailable("too many requests are waiting for the store")
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._pump_batches(), name="store pipeline")
        # Packed here and not in the pump: an argument that can't be packed is its caller's fault alone.
        packed = hiredis.pack_command(tuple(parts))  # type: ignore[arg-type]  # its stub says one-tuple
        sent = Sent(_ASKING + packed if asking else packed, asking=asking, waits=self._wait is not None)
        self._waiting.append(sent)
        self._something_waits.set()
        return sent

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and close the connection."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._fail_waiting(StoreUnavailable("the broker is shutting down"))
        await self._discard_connection()

    async def _pump_batches(self) -> None:
        while True:
            await self._something_waits.wait()
            self._on_its_way = True
            try:
                await self._pump_batch()
            except Exception as error:
                # What nobody foresaw must not leave callers waiting for ever. Its text may quote what was sent, so the
                # log gets its type and its way through the code.
                trace = "".join(traceback.format_tb(error.__traceback__))
                log.error("store.failed_unexpectedly", error=type(error).__name__, trace=trace)
                self._fail_waiting(StoreUnavailable("the store can't be used, see the broker's log"))
                await self._discard_connection()
            finally:
                self._on_its_way = False

    async def _pump_batch(self) -> None:
        if self._connection is not None and (self._is_outdated() or await self._connection.can_read()):
            # Between batches nothing is due, so this is the end of the connection. Nothing has been sent yet.
            await self._discard_connection()
        if self._connection is None and not await self._open_connection():
            return
        batch = self._take_batch()
        if batch:
            await self._exchange(batch)

    def _is_outdated(self) -> bool:
        return self._outdated is not None and self._connection is not None and self._outdated(self._connection)

    def _take_batch(self) -> list[Sent]:
        batch: list[Sent] = []
        while self._waiting and len(batch) < _MAX_BATCH:
            sent = self._waiting.popleft()
            if not sent.answer.cancelled():
                batch.append(sent)
        if not self._waiting:
            self._something_waits.clear()
        return batch

    async def _open_connection(self) -> bool:
        try:
            async with asyncio.timeout(self._deadline):
                self._connection = await self._connect()
        except StoreUnavailable as error:
            self._fail_waiting(error)
            return False
        except BusyLoadingError:
            self._fail_waiting(StoreUnavailable("the store is still loading its data", retry_after=_LOADING_SECONDS))
            return False
        except (RedisError, OSError, TimeoutError):
            self._fail_waiting(StoreUnavailable("the store can't be reached"))
            return False
        return True

    async def _exchange(self, batch: list[Sent]) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - opened by the pump, which is the only one to call
        useless = False
        answered = 0
        packed = [sent.packed for sent in batch]
        if self._wait:
            packed.append(self._wait)
        try:
            async with asyncio.timeout(self._deadline):
                await connection.send_packed_command(packed, check_health=False)
                for sent in batch:
                    try:
                        if sent.asking:
                            await _passed_over(connection)
                        sent.succeed(await connection.read_response())
                    except ResponseError as error:
                        # A node that became a replica: the next connection may reach the primary.
                        useless = useless or isinstance(error, ReadOnlyError | MasterDownError)
                        sent.fail(error)
                    answered += 1
                if self._wait:
                    _settle(batch, await self._reached(connection))
        except (RedisError, OSError, TimeoutError) as error:
            useless = True
            loading = isinstance(error, BusyLoadingError)
            for sent in batch[answered:]:
                sent.fail(
                    StoreUnavailable("the store is still loading its data" if loading else "the store did not answer")
                )
        except BaseException:
            # Shutting down in the middle of a batch, or what nobody foresaw.
            for sent in batch[answered:]:
                sent.fail(StoreUnavailable("the command was not carried out"))
            await self._discard_connection()
            raise
        finally:
            if self._wait:
                # Whatever has not been confirmed by now never will be.
                _settle(batch, False)
        if useless:
            await self._discard_connection()

    async def _reached(self, connection: AbstractConnection) -> bool:
        try:
            return int(await connection.read_response()) >= self._replicas
        except ResponseError:
            # UNBLOCKED: the server became a replica meanwhile.
            return False

    async def _discard_connection(self) -> None:
        # A connection with answers still to come would hand them to somebody else's commands.
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)
        self._something_waits.clear()


async def _passed_over(connection: AbstractConnection) -> None:
    # If it is an error, what follows fails by itself, with a reply that says so.
    with suppress(ResponseError):
        await connection.read_response()


def _settle(batch: list[Sent], confirmed: bool) -> None:
    for sent in batch:
        sent.confirm(confirmed)
