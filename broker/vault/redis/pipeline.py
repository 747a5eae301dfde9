"""One server as a store: commands of concurrent requests travel as one pipeline.

Callers put a command down and wait; a single task per process takes everything that has gathered, sends it in one
write and reads the answers in order. While a batch is on its way the next one gathers, so under load hundreds of
requests share one system call and one ``fsync`` of the store, and with no load a command leaves at once.

Neighbours are kept apart: an error reply belongs to its command alone, a cancelled caller's command is dropped if
it has not left, and its answer is thrown away if it has. Only a lost or late connection fails a whole batch: then
nobody knows what ran, the connection is discarded, and each caller gets :class:`StoreUnavailable`. Nothing is ever
sent twice.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

import hiredis
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from broker.errors import StoreUnavailable
from broker.vault.redis.connecting import Connect
from broker.vault.redis.store import Argument, Commit, Reply
from broker.vault.scripts import Script

_MAX_BATCH: Final = 512
_SCANNED_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)


class _Command:
    __slots__ = ("answer", "packed")

    def __init__(self, packed: bytes, answer: "asyncio.Future[Reply]") -> None:
        self.packed = packed
        self.answer = answer

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def succeed(self, reply: Reply) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)


class Pipeline:
    """One ordered stream of commands to the store."""

    def __init__(self, connect: Connect, *, deadline: float = 2.0, max_waiting: int = 10_000) -> None:
        """
        :param deadline: seconds that one batch, or opening a connection, may take.
        :param max_waiting: commands that may wait to be sent; one more is refused (backpressure).
        """
        self._connect = connect
        self._deadline = deadline
        self._max_waiting = max_waiting
        self._waiting: deque[_Command] = deque()
        self._something_waits = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def execute(self, *parts: Argument) -> Reply:
        """Run one command and answer its reply.

        :raises StoreUnavailable: no connection, no answer by the deadline, too much waiting, or an error reply.
        """
        try:
            return await self._submit(parts)
        except ResponseError as error:
            raise _refused(error) from None

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """Run a script on ``keys``, which all lie in one slot.

        :raises StoreUnavailable: as :meth:`execute`.
        """
        tail = (len(keys), *keys, *arguments)
        try:
            try:
                return await self._submit(("EVALSHA", script.sha, *tail))
            except NoScriptError:
                # The store forgot its scripts (SCRIPT FLUSH, failover): nothing ran, so sending the source is safe.
                return await self._submit(("EVAL", script.source, *tail))
        except ResponseError as error:
            raise _refused(error) from None

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """Run a script."""
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        confirmed.set_result(True)
        return Commit(await self.run(script, keys, arguments), confirmed)

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """All keys that match ``pattern``, page by page."""
        cursor = b"0"
        while True:
            cursor, keys = await self.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED_AT_ONCE)
            yield [key.decode() for key in keys]
            if cursor == b"0":
                return

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and close the connection."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._fail_waiting(StoreUnavailable("the broker is shutting down"))
        await self._discard_connection()

    def _submit(self, parts: Sequence[Argument]) -> "asyncio.Future[Reply]":
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise StoreUnavailable("too many requests are waiting for the store")
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._pump_batches(), name="store pipeline")
        # Packed here and not in the pump: an argument that can't be packed is its caller's fault alone.
        packed = hiredis.pack_command(tuple(parts))  # type: ignore[arg-type]  # its stub says one-tuple
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Command(packed, answer))
        self._something_waits.set()
        return answer

    async def _pump_batches(self) -> None:
        while True:
            await self._something_waits.wait()
            try:
                await self._pump_batch()
            except Exception as error:
                # What nobody foresaw must not leave callers waiting for ever. Its text may quote what was sent, so the
                # log gets its type and its way through the code.
                trace = "".join(traceback.format_tb(error.__traceback__))
                log.error("store.failed_unexpectedly", error=type(error).__name__, trace=trace)
                self._fail_waiting(StoreUnavailable("the store can't be used, see the broker's log"))
                await self._discard_connection()

    async def _pump_batch(self) -> None:
        if self._connection is not None and await self._connection.can_read():
            # Between batches nothing is due, so this is the end of the connection. Nothing has been sent yet.
            await self._discard_connection()
        if self._connection is None and not await self._open_connection():
            return
        batch = self._take_batch()
        if batch:
            await self._exchange(batch)

    def _take_batch(self) -> list[_Command]:
        batch: list[_Command] = []
        while self._waiting and len(batch) < _MAX_BATCH:
            command = self._waiting.popleft()
            if not command.answer.cancelled():
                batch.append(command)
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
        except (RedisError, OSError, TimeoutError):
            self._fail_waiting(StoreUnavailable("the store can't be reached"))
            return False
        return True

    async def _exchange(self, batch: list[_Command]) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - opened by the pump, which is the only one to call
        useless = False
        answered = 0
        try:
            async with asyncio.timeout(self._deadline):
                await connection.send_packed_command([command.packed for command in batch], check_health=False)
                for command in batch:
                    try:
                        command.succeed(await connection.read_response())
                    except ResponseError as error:
                        # A node that became a replica: the next connection may reach the primary.
                        useless = useless or isinstance(error, ReadOnlyError | MasterDownError)
                        command.fail(error)
                    answered += 1
        except (RedisError, OSError, TimeoutError):
            useless = True
            for command in batch[answered:]:
                command.fail(StoreUnavailable("the store did not answer"))
        except BaseException:
            # Shutting down in the middle of a batch, or what nobody foresaw.
            for command in batch[answered:]:
                command.fail(StoreUnavailable("the command was not carried out"))
            await self._discard_connection()
            raise
        if useless:
            await self._discard_connection()

    async def _discard_connection(self) -> None:
        # A connection with answers still to come would hand them to somebody else's commands.
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)
        self._something_waits.clear()


def _refused(error: ResponseError) -> StoreUnavailable:
    # The reply's first word is the store's own code (OOM, READONLY, MISCONF, WRONGTYPE); the rest may quote data.
    # For codes that redis-py has a class for it cuts that word off and keeps it aside.
    code = error.status_code or str(error).partition(" ")[0]
    return StoreUnavailable(f"the store refused a command ({code})")
