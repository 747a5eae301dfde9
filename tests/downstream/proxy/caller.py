"""A caller of the proxy: through an HTTP client, or with whatever bytes it likes."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.world import ServiceClient


@dataclass
class ProxyCaller:
    """A service with a broker token, on real connections."""

    http: httpx2.AsyncClient
    app: ServiceClient
    port: int
    authorization: str

    async def connect(self, provider: str = "rough", **credentials: str) -> str:
        """A connection at one of the rough providers, or another that takes what is handed in; answers its id."""
        body = {"provider": provider, "subject": "ann", "credentials": credentials, "validate": False}
        answer = await self.app.call("POST", "/v1/connections", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def events(self, connection_id: str) -> list[dict[str, Any]]:
        """What the proxy wrote down about the connection, the oldest first."""
        answer = await self.app.call("GET", f"/v1/connections/{connection_id}/events")
        found = answer.raise_for_status().json()["items"]
        return [event for event in reversed(found) if event["type"] == "proxy.requested"]

    async def write(self, line: str, *headers: str, body: bytes = b"", own: bool = True) -> tuple[int, bytes]:
        """Send a request line and headers as they stand; answers the status, and all that came until the broker closed.

        :param own: whether the caller's Host and Authorization come first.
        """
        first = [f"Host: 127.0.0.1:{self.port}", f"Authorization: {self.authorization}"] if own else []
        head = "".join(f"{each}\r\n" for each in (line, *first, "Connection: close", *headers))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head.encode("latin-1") + b"\r\n" + body)
            said = b""
            with suppress(ConnectionError):
                await writer.drain()
                said = await reader.read()
        finally:
            writer.transport.abort()
        return int(said.split(b" ", 2)[1]) if said else 0, said
