"""Host names to addresses, for hosts that the operator didn't write: in threads of their own.

The system's resolver may take as long as whoever answers for a name likes. On the event loop's few threads such names
would hold up everybody: every provider's host, and the store's. Here they hold up each other at worst. A name is looked
up once however many ask; there are so many lookups and no more; and nobody waits longer than the deadline, though the
thread may. The threads are daemons: one that hangs does not keep the process from ending.
"""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from broker.errors import NotSent

Ask = Callable[[str], Sequence[str]]
"""Host name to IP addresses, as text; blocks. Raises ``OSError`` or ``ValueError`` when the name does not resolve."""

_THREADS: Final = 64
"""Names that are looked up at once."""

_WAITING: Final = 128
"""Names that wait for a thread at most."""

_DEADLINE: Final = 5.0
"""Seconds that anybody waits for a name."""


def _ask_system(host: str) -> Sequence[str]:
    """As every program of this machine would find the host: ``/etc/hosts`` and ``nsswitch.conf`` count."""
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(eq=False, slots=True)
class _Lookup:
    host: str
    answer: asyncio.Future[Sequence[str] | Exception]
    waiters: int = 0


class NameLookup:
    """Looks names up; a :data:`~broker.upstream.address_guard.Resolver`. Of one event loop."""

    def __init__(
        self,
        ask: Ask = _ask_system,
        *,
        threads: int = _THREADS,
        waiting: int = _WAITING,
        deadline: float = _DEADLINE,
    ) -> None:
        self._ask = ask
        self._threads = threads
        self._waiting_at_most = waiting
        self._deadline = deadline
        self._lookups: dict[str, _Lookup] = {}
        """Those in a thread and those that wait for one."""
        self._waiting: deque[_Lookup] = deque()
        self._at_work = 0

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """The addresses of ``host``, as text.

        :raises NotSent: too many names are being looked up, or this one takes too long.
        :raises OSError: it does not resolve (or ``ValueError``: it is no name).
        """
        lookup = self._lookups.get(host) or self._begin(host)
        lookup.waiters += 1
        try:
            async with asyncio.timeout(self._deadline):
                # Shielded: one caller who gives up must not take the answer from the others.
                found = await asyncio.shield(lookup.answer)
        except TimeoutError:
            raise NotSent(f"the name {host} was not looked up in time") from None
        finally:
            lookup.waiters -= 1
            self._drop_if_unwanted(lookup)
        if isinstance(found, Exception):
            raise found
        return found

    def _begin(self, host: str) -> _Lookup:
        if len(self._waiting) >= self._waiting_at_most:
            raise NotSent("too many names are being looked up", retry_after=1)
        lookup = self._lookups[host] = _Lookup(host, asyncio.get_running_loop().create_future())
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

    def _work(self, loop: asyncio.AbstractEventLoop, lookup: _Lookup) -> None:
        found: Sequence[str] | Exception
        try:
            found = self._ask(lookup.host)
        except (OSError, ValueError) as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(self._finish, lookup, found)

    def _finish(self, lookup: _Lookup, found: Sequence[str] | Exception) -> None:
        del self._lookups[lookup.host]
        self._at_work -= 1
        lookup.answer.set_result(found)
        self._put_to_work()

    def _drop_if_unwanted(self, lookup: _Lookup) -> None:
        """Names that nobody waits for any more must not keep others from getting in line."""
        if not lookup.waiters and lookup in self._waiting:
            self._waiting.remove(lookup)
            del self._lookups[lookup.host]
