"""A request's body on its way through: passed on while it comes in, and kept while it is small."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import ClientDisconnect, Request

from broker.errors import InvalidRequest, PayloadTooLarge, ProviderPaused
from broker.http.reading import announced_size

KEPT_AT_MOST: Final = 64 * 1024
"""Bytes of a body that can be sent again."""
SIGNED_AT_MOST: Final = 10 * 1024 * 1024
"""Bytes of a body that a signature covers, so that it has to be there before anything is sent."""


class Room:
    """Memory for bodies that have to be held whole: so much in this process, and no more."""

    def __init__(self, size: int) -> None:
        """:param size: bytes."""
        self._left = size

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes for as long as the block lasts.

        :raises ProviderPaused: others hold as much as there is.
        """
        if size > self._left:
            raise ProviderPaused("this worker holds as many bodies to be signed as it may", retry_after=1)
        self._left -= size
        try:
            yield
        finally:
            self._left += size


class Upload:
    """The body of one request."""

    def __init__(self, request: Request, *, at_most: int, patience: float) -> None:
        """:param at_most: bytes; more are refused while they come in.
        :param patience: seconds until the next part has to be there.
        :raises PayloadTooLarge: the caller announces more than that.
        """
        announced = request.headers.get("content-length", "").encode("latin-1")
        self.length = announced_size(announced) if announced.isdigit() else None
        """Bytes, where the caller says so."""
        self._request = request
        self._at_most = at_most
        self._patience = patience
        self._kept: bytearray | None = bytearray()
        self.ended = asyncio.Event()
        """Set when the caller has said all."""
        if self.length is not None and self.length > at_most:
            raise PayloadTooLarge(f"a body to this provider may have {at_most} bytes")
        if self.is_empty:
            self.ended.set()

    @property
    def is_empty(self) -> bool:
        """Whether the request has no body at all."""
        return not self.length and "transfer-encoding" not in self._request.headers

    @property
    def again(self) -> bytes | None:
        """The whole body, to be sent again; ``None``: it is not all here, or was too large to keep."""
        return bytes(self._kept) if self._kept is not None and self.ended.is_set() else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes in.

        :raises PayloadTooLarge: it goes on for longer than it may.
        :raises InvalidRequest: it stops short.
        """
        passed = 0
        stream = self._request.stream()
        while (piece := await self._next(stream)) is not None:
            passed += len(piece)
            if passed > self._at_most:
                raise PayloadTooLarge(f"a body to this provider may have {self._at_most} bytes")
            if self._kept is not None:
                self._kept += piece
                if len(self._kept) > KEPT_AT_MOST:
                    self._kept = None
            if piece:
                yield piece
        self.ended.set()

    async def whole(self) -> bytes:
        """All of it at once, within the time that a part may take.

        :raises BrokerError: as :meth:`pieces`.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                async for piece in self.pieces():
                    body += piece
        except TimeoutError:
            raise InvalidRequest("the body did not arrive in time") from None
        self._kept = body
        return bytes(body)

    async def _next(self, stream: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._patience):
                return await anext(stream, None)
        except (TimeoutError, ClientDisconnect):
            raise InvalidRequest("the body did not arrive in full") from None
