"""Host names to addresses: what blocks until the system's resolver answers, in threads of its own.

The resolver may take as long as whoever answers for a name likes. On the event loop's few threads one name that hangs
would hold up everybody's. Here a name is looked up once however many ask; there are so many lookups and no more; and
nobody waits longer than the deadline, though the thread may. The threads are daemons: one that hangs does not keep the
process from ending.

Names that others chose (the guard's) and the operator's (the worker's loop) have threads apart, so that no stranger's
name holds up an operator's host.
"""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from broker.errors import NotSent

Name = TypeVar("Name", bound=Hashable)
Found = TypeVar("Found")

_THREADS: Final = 64
"""Names that are looked up at once."""

_WAITING: Final = 128
"""Names that wait for a thread at most."""

_DEADLINE: Final = 15.0
"""Seconds that anybody waits for a name: room for a resolver whose first name server is down (``resolv.conf(5)``: five
seconds until it asks the next)."""


def system_addresses(host: str) -> Sequence[str]:
    """The IP addresses of ``host``, as text; blocks.

    As every program of this machine would find the host: ``/etc/hosts`` and ``nsswitch.conf`` count.

    :raises OSError: it does not resolve (or ``ValueError``: it is no name).
    """
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(eq=False, slots=True)
class _Lookup(Generic[Name, Found]):
    name: Name
    answer: asyncio.Future[Found | Exception]
    waiters: int = 0


class NameLookup(Generic[Name, Found]):
    """Looks names up, on one event loop."""

    def __init__(
        self,
        ask: Callable[[Name], Found],
        *,
        threads: int = _THREADS,
        waiting: int = _WAITING,
        deadline: float | None = _DEADLINE,
    ) -> None:
        """
        :param ask: finds what a name stands for; blocks.
        :param deadline: in seconds; ``None``: whoever asks has their own.
        """
        self._ask = ask
        self._threads = threads
        self._waiting_at_most = waiting
        self._deadline = deadline
        self._lookups: dict[Name, _Lookup[Name, Found]] = {}
        """Those in a thread and those that wait for one."""
        self._waiting: deque[_Lookup[Name, Found]] = deque()
        self._at_work = 0

    async def __call__(self, name: Name) -> Found:
        """What is found for ``name``.

        :raises NotSent: too many names are being looked up, or this one takes too long.
        :raises Exception: what ``ask`` raises: an ``OSError`` or a ``ValueError``.
        """
        lookup = self._lookups.get(name) or self._begin(name)
        lookup.waiters += 1
        try:
            async with asyncio.timeout(self._deadline):
                # Shielded: one caller who gives up must not take the answer from the others.
                found = await asyncio.shield(lookup.answer)
        except TimeoutError:
            raise NotSent("the name was not looked up in time") from None
        finally:
            lookup.waiters -= 1
            self._drop_if_unwanted(lookup)
        if isinstance(found, Exception):
            raise found
        return found

    def _begin(self, name: Name) -> _Lookup[Name, Found]:
        if len(self._waiting) >= self._waiting_at_most:
            raise NotSent("too many names are being looked up", retry_after=1)
        lookup = self._lookups[name] = _Lookup(name, asyncio.get_running_loop().create_future())
        self._waiting.append(lookup)
        self._put_to_work()
        return lookup

    def _put_to_work(self) -> None:
        while self._waiting and self._at_work < self._threads:
            lookup, loop = self._waiting.popleft(), asyncio.get_running_loop()
            self._at_work += 1
            try:
                threading.Thread(target=self._work, args=(loop, lookup), name="name lookup", daemon=True).start()
            except RuntimeError:  # the system gives us no more threads
                loop.call_soon(self._finish, lookup, OSError("no thread"))

    def _work(self, loop: asyncio.AbstractEventLoop, lookup: _Lookup[Name, Found]) -> None:
        found: Found | Exception
        try:
            found = self._ask(lookup.name)
        except (OSError, ValueError) as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(self._finish, lookup, found)

    def _finish(self, lookup: _Lookup[Name, Found], found: Found | Exception) -> None:
        del self._lookups[lookup.name]
        self._at_work -= 1
        lookup.answer.set_result(found)
        self._put_to_work()

    def _drop_if_unwanted(self, lookup: _Lookup[Name, Found]) -> None:
        """Names that nobody waits for any more must not keep others from getting in line."""
        if not lookup.waiters and lookup in self._waiting:
            self._waiting.remove(lookup)
            del self._lookups[lookup.name]
