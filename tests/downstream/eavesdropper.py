"""Somebody who keeps everything: what was asked of the broker and answered, and the secrets that were in play."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from broker.upstream.facade import Upstream


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    method: str
    url: str
    status: int
    headers: str
    body: str

    @property
    def answer(self) -> str:
        """All that the caller got."""
        return f"{self.headers}\n{self.body}"


class Eavesdropper(httpx2.AsyncBaseTransport):
    """Passes requests on to the app, and keeps them with their answers."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.exchanges: list[Exchange] = []
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One exchange."""
        response = await self._inner.handle_async_request(request)
        body = (await response.aread()).decode()
        headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self.exchanges.append(Exchange(request.method, str(request.url), response.status_code, headers, body))
        return response


@dataclass
class Secrets:
    """Name → value of every secret that was in play."""

    values: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str, *values: str | None) -> None:
        """Remember secrets; each gets a name of its own."""
        for value in values:
            if value and value not in self.values.values():
                self.values[f"{name} {len(self.values)}"] = value

    def found_in(self, text: str | bytes) -> set[str]:
        """The names of the secrets that stand in ``text``: as they are, or in base64 or hex."""
        haystack = text if isinstance(text, bytes) else text.encode()
        return {name for name, value in self.values.items() if any(form in haystack for form in _forms(value.encode()))}

    def listen_to_the_wire(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Remember what goes to the provider's token endpoint and what comes back, and change nothing of it."""
        for name in ("exchange_code", "refresh", "issue"):
            monkeypatch.setattr(Upstream, name, self._overheard(getattr(Upstream, name)))

    def _overheard(self, call: Any) -> Any:
        async def listened(upstream: Upstream, *arguments: Any, **named: Any) -> Any:
            for name in ("code", "verifier", "refresh_token"):
                self.plant(name, named.get(name))
            tokens = await call(upstream, *arguments, **named)
            self.plant("provider access token", tokens.access_token)
            self.plant("provider refresh token", tokens.refresh_token)
            return tokens

        return listened


def _forms(secret: bytes) -> Iterable[bytes]:
    # Base64 of a part of something else starts at any of three offsets; what is the same at each is its middle.
    yield secret
    yield secret.hex().encode()
    for offset in range(3):
        yield base64.b64encode(b"\0" * offset + secret)[4:-4]
