"""Answers whose headers are known beforehand: encoded once, and not for each of them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Raw = tuple[bytes, bytes]

NO_STORE: Final = {"Cache-Control": "no-store"}


class Made(Response):
    """A body that was made, of one media type, which nobody caches."""

    def __init__(self, body: bytes, status: int, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """:param headers: beside those that follow from the body."""
        self.status_code = status
        self.media_type = media_type
        self.background = None
        self.body = body
        length = (b"content-length", b"%d" % len(body))
        self.raw_headers = [*_encoded(media_type), length, *map(_raw, (headers or {}).items())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


@lru_cache
def _encoded(media_type: str) -> tuple[Raw, ...]:
    return tuple(map(_raw, {**NO_STORE, "Content-Type": media_type}.items()))


@lru_cache
def _raw(header: tuple[str, str]) -> Raw:
    name, value = header
    return name.lower().encode("latin-1"), value.encode("latin-1")
