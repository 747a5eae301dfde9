"""A command on its way, for whoever put it down and whoever carries it."""

import asyncio

from broker.vault.redis.store import Reply


class Sent:
    """A command on its way: its answer, and whether replicas have it."""

    __slots__ = ("answer", "asking", "confirmed", "due", "ends_batch", "packed")

    def __init__(
        self, packed: bytes, loop: asyncio.AbstractEventLoop, *, due: float, asking: bool, waits: bool
    ) -> None:
        self.packed = packed
        self.asking = asking
        """Whether ASKING goes before it, whose own reply is of no interest."""
        self.answer: asyncio.Future[Reply] = loop.create_future()
        """Raises the server's error reply as it is, or :class:`StoreUnavailable`."""
        self.confirmed: asyncio.Future[bool] | None = loop.create_future() if waits else None
        """``None``: nobody is asked for confirmation."""
        self.due = due
        """When whoever put it down has to hear something (the loop's time)."""
        self.ends_batch = False

    def succeed(self, reply: Reply) -> None:
        """The server's reply. Who was cancelled meanwhile misses nothing."""
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self, error: Exception) -> None:
        """There is no reply, or it is an error."""
        if not self.answer.done():
            self.answer.set_exception(error)
        self.confirm(False)

    def confirm(self, confirmed: bool) -> None:
        """Whether enough replicas have it."""
        if self.confirmed is not None and not self.confirmed.done():
            self.confirmed.set_result(confirmed)
