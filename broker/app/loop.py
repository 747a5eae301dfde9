"""The worker's event loop: uvloop's, which looks names up in threads of ours.

libuv would do that in the four threads that it has for everything. A provider whose name server is silent takes all of
them with four requests, and then no other provider is reached either until the resolver gives up, which takes it longer
than most requests may. Whoever connects by a name and asks the loop for its addresses first comes through here: the way
out does. The store's own connections still go through libuv, which now has its threads for nothing else.
"""

import socket
from typing import Any, Final

import uvloop

from broker.errors import NotSent
from broker.upstream.name_lookup import NameLookup

_Query = tuple[bytes | str | None, bytes | str | int | None, int, int, int, int]
_Addresses = list[tuple[Any, ...]]

_WAITING: Final = 1024
"""Names that wait for a thread at most: more than an operator writes into a providers file."""


class WorkerLoop(uvloop.Loop):
    """uvloop's loop, with name lookups that don't hold each other up."""

    def __init__(self) -> None:
        super().__init__()
        # Who asks has a deadline of their own.
        self._names = NameLookup(_ask, waiting=_WAITING, deadline=None)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - it is called by this name
        proto: int = 0,
        flags: int = 0,
    ) -> _Addresses:
        """As :func:`socket.getaddrinfo`.

        :raises socket.gaierror: there is no such name; or it was not looked up, for too many hang already.
        """
        try:
            return await self._names((host, port, family, type, proto, flags))
        except NotSent as error:
            raise socket.gaierror(socket.EAI_AGAIN, error.detail) from None


def _ask(query: _Query) -> _Addresses:
    return list(socket.getaddrinfo(*query))
