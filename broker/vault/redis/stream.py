"""One connection to one server, kept open: commands of concurrent requests travel as one batch.

Callers put a command down and wait; a single task takes everything that has gathered and sends it in one write. Two
batches are on their way at most, one that the store works on and one behind it, while the next one gathers: so under
load hundreds of requests share one system call and one ``fsync`` of the store, neither side waits for the other, and
with no load a command leaves at once.

Neighbours are kept apart: an error reply belongs to its command alone, a cancelled caller's command is dropped if
it has not left, and its answer is thrown away if it has. Only a lost or late connection fails all that is on its way:
then nobody knows what ran, the connection is discarded, and each caller gets :class:`StoreUnavailable`. Nothing is ever
sent twice.

A stream that waits for replicas ends each batch with one WAIT: it counts who has all that this connection wrote, so it
has to travel on it, behind the writes. Answers are given out before WAIT is answered.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final, NamedTuple

import hiredis
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError

from broker.errors import StoreUnavailable
from broker.vault.redis.connecting import Connect
from broker.vault.redis.line import LOADING_SECONDS, SILENT, UNREACHED, Line
from broker.vault.redis.sent import Sent
from broker.vault.redis.store import Argument, Reply

_MAX_BATCH: Final = 512
_BATCHES_AT_ONCE: Final = 2
"""On their way: while the store works on one, this process makes the other."""
_WORTH_A_ROUND: Final = 8
_ASKING: Final = hiredis.pack_command(("ASKING",))

log = structlog.get_logger(__name__)


class Waiting(NamedTuple):
    """What is asked of replicas after each batch: https://valkey.io/commands/wait/."""

    replicas: int
    milliseconds: int
    """After which a batch is not confirmed. Meanwhile the connection carries nothing else."""


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
        :param deadline: seconds that a command, one batch, or opening a connection may take.
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
        self._batches_at_once = 1 if waiting else _BATCHES_AT_ONCE
        self._due = asyncio.Event()
        """Set when a batch may leave."""
        self._line: Line | None = None
        self._lines: set[Line] = set()
        """With those that are only still answered."""
        self._pump: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def load(self) -> int:
        """How many commands there are ahead of one that is put down now, the batch on its way counting as one."""
        return len(self._waiting) + (0 if self._line is None else self._line.batches)

    def submit(self, parts: Sequence[Argument], *, asking: bool = False) -> Sent:
        """Put a command down.

        :raises StoreUnavailable: closed, or too much waits already.
        """
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise StoreUnavailable("too many requests are waiting for the store")
        if self._pump is None or self._pump.done():
            self._loop = asyncio.get_running_loop()
            self._pump = self._loop.create_task(self._pump_batches(), name="store pipeline")
        # Packed here and not in the pump: an argument that can't be packed is its caller's fault alone.
        packed = hiredis.pack_command(tuple(parts))  # type: ignore[arg-type]  # its stub says one-tuple
        sent = Sent(
            _ASKING + packed if asking else packed,
            self._loop,
            due=self._loop.time() + self._deadline,
            asking=asking,
            waits=self._wait is not None,
        )
        self._waiting.append(sent)
        if self._watch is None:
            self._watch = self._loop.call_at(sent.due, self._give_up)
        self._look()
        return sent

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and close the connection."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._fail_waiting(StoreUnavailable("the broker is shutting down"))
        await asyncio.gather(*(line.aclose() for line in self._lines))

    async def _pump_batches(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                if self._waiting:  # and was not told meanwhile that its time is over
                    await self._pump_batch()
            except Exception as error:
                # What nobody foresaw must not leave callers waiting for ever. Its text may quote what was sent, so the
                # log gets its type and its way through the code.
                trace = "".join(traceback.format_tb(error.__traceback__))
                log.error("store.failed_unexpectedly", error=type(error).__name__, trace=trace)
                self._fail_waiting(StoreUnavailable("the store can't be used, see the broker's log"))
            self._look()

    def _look(self) -> None:
        """Let a batch leave if none is on its way, or just one and at least as many commands wait as it carries.

        A second one of a command or two would cost the store as much as one of a hundred: a round, and an ``fsync``.
        """
        line = self._line
        if self._waiting and (
            line is None
            or line.batches == 0
            or (line.batches < self._batches_at_once and len(self._waiting) >= max(line.load, _WORTH_A_ROUND))
        ):
            self._due.set()

    async def _pump_batch(self) -> None:
        line = self._line or await self._open_line()
        if line is None:
            return
        if not line.usable or self._is_outdated(line):
            # Nothing of what waits has been sent; the next round opens another line for it.
            line.retire()
            self._line = None
        elif batch := self._take_batch():
            line.send(batch)

    def _is_outdated(self, line: Line) -> bool:
        return self._outdated is not None and self._outdated(line.connection)

    def _take_batch(self) -> list[Sent]:
        batch: list[Sent] = []
        while self._waiting and len(batch) < _MAX_BATCH:
            sent = self._waiting.popleft()
            if not sent.answer.done():
                batch.append(sent)
        if batch and self._wait:
            due = self._loop.time() + self._deadline
            wait = Sent(self._wait, self._loop, due=due, asking=False, waits=False)
            wait.answer.add_done_callback(partial(_settle, tuple(batch), self._replicas))
            batch.append(wait)
        return batch

    def _give_up(self) -> None:
        """Tell those whose time is over, wherever their command is: a store that is slow is no reason to wait longer.

        One timer looks after all of them. A line has a deadline of its own, after which it is lost.
        """
        now = self._loop.time()
        while self._waiting and self._waiting[0].due <= now:
            self._waiting.popleft().fail(StoreUnavailable(UNREACHED if self._line is None else SILENT))
        dues = [line.give_up(now) for line in self._lines]
        if self._waiting:
            dues.append(self._waiting[0].due)
        following = min((due for due in dues if due is not None), default=None)
        self._watch = None if following is None or self._closed else self._loop.call_at(following, self._give_up)

    async def _open_line(self) -> Line | None:
        asked_by = self._loop.time() + self._deadline
        try:
            async with asyncio.timeout(self._deadline):
                connection = await self._connect()
        except StoreUnavailable as error:
            self._fail_waiting(error, asked_by)
        except BusyLoadingError:
            loading = StoreUnavailable("the store is still loading its data", retry_after=LOADING_SECONDS)
            self._fail_waiting(loading, asked_by)
        except (RedisError, OSError, TimeoutError):
            self._fail_waiting(StoreUnavailable(UNREACHED), asked_by)
        else:
            self._line = Line(connection, deadline=self._deadline, settled=self._look, ended=self._lines.discard)
            self._lines.add(self._line)
            return self._line
        return None

    def _fail_waiting(self, error: StoreUnavailable, due_by: float = inf) -> None:
        """Fail those that were due by then. What came while an attempt to connect was failing gets one of its own."""
        while self._waiting and self._waiting[0].due <= due_by:
            self._waiting.popleft().fail(error)


def _settle(batch: Sequence[Sent], replicas: int, wait: "asyncio.Future[Reply]") -> None:
    # What has not been confirmed by now never will be. An error is UNBLOCKED: the server became a replica meanwhile.
    # Anything else that is no number comes from no store, and confirms nothing.
    reply = None if wait.cancelled() or wait.exception() is not None else wait.result()
    confirmed = isinstance(reply, int) and reply >= replicas
    for sent in batch:
        sent.confirm(confirmed)
