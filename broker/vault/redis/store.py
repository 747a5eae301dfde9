"""The store as the rest of the vault sees it: commands and scripts, whatever they travel through to whichever node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError

from broker.errors import StoreUnavailable
from broker.vault.scripts import Script

Argument = str | bytes | int | float
Reply = Any
"""bytes, int, ``None``, or a list of these: the store's RESP2 answer."""

_Sent = TypeVar("_Sent")


class Confirmation:
    """Whether enough replicas hold a commit. Awaited by any number of tasks, which can be cancelled; never raises."""

    __slots__ = ("_known",)

    def __init__(self, known: "asyncio.Future[bool] | None") -> None:
        """``None``: no replica is asked, so the commit counts as confirmed."""
        self._known = known

    @property
    def immediate(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._known is None

    def __await__(self) -> Generator[Any, None, bool]:
        if self._known is None:
            return True
        # Cancelling one who waits must not take the answer from another.
        return (yield from asyncio.shield(self._known).__await__())


@dataclass(frozen=True, slots=True)
class Commit:
    """A write that the store has carried out."""

    reply: Reply
    confirmed: Confirmation
    """Whether as many replicas as ``BROKER_STORE_WAIT_REPLICAS`` hold the write. False on any doubt: the write is still
    there, but a failover may lose it."""


class Store(Protocol):
    """One server, or many that look like one.

    Every method raises :class:`StoreUnavailable` where the store can't be reached, doesn't answer by the deadline, or
    answers an error. Nothing that may have run is sent again by itself: after a failure nobody knows whether it had its
    effect. Whoever knows that a repeat is harmless asks for one (:func:`run_or_repeat`).
    """

    async def execute(self, *parts: Argument) -> Reply:
        """Run one command, whose keys all lie in one slot, and answer its reply."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """Run a script on ``keys``, which all lie in one slot."""

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """Run a script whose write must not get lost. Answers when it has run; ``confirmed`` may take a second more."""

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """All keys that match ``pattern``, page by page, of every node. A key can come twice; one that is there from
        beginning to end comes at least once."""

    async def infos(self) -> Mapping[str, Reply | StoreUnavailable]:
        """The INFO of every server that takes writes, or why there is none, by ``host:port``. The name is empty where
        there is only one server."""

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and let go of every connection."""


async def run_or_repeat(store: Store, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
    """Run a script, and once more if no answer came: it may have run, and whoever asked would lose what it gave.

    Only for scripts that know a repeat, by a name among their arguments or by what it would change, and answer it to
    the same effect.

    :raises StoreUnavailable: no answer came to the second, either.
    """
    try:
        return await store.run(script, keys, arguments)
    except StoreUnavailable:
        return await store.run(script, keys, arguments)


async def evaluate(
    send: Callable[[Sequence[Argument]], Awaitable[_Sent]],
    script: Script,
    keys: Sequence[str],
    arguments: Sequence[Argument],
) -> _Sent:
    """Send a script by its name; with its source if the server forgot it (SCRIPT FLUSH, failover): nothing ran then."""
    tail = (len(keys), *keys, *arguments)
    try:
        return await send(("EVALSHA", script.sha, *tail))
    except NoScriptError:
        return await send(("EVAL", script.source, *tail))
