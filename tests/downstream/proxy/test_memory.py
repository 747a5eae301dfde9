"""A stream takes no room: a real worker, how much it has held at most, and how far one side gets ahead of the other."""

import asyncio
import base64
import hashlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.sandbox.streams import BLOCK
from broker.settings import Settings
from tests.processes import broker_to_signal
from tests.world import ServiceClient

_MEGABYTE = 2**20
_DOWN = 200 * _MEGABYTE
_UP = 90 * _MEGABYTE
_ROOM = 40 * _MEGABYTE
"""What a worker may need besides: buffers, and what Python doesn't give back at once."""
_STUCK = 64 * _MEGABYTE
"""What the kernel takes in on two connections, at most, while nobody reads at the other end."""
_STILL = 20


@dataclass
class Worker:
    """A broker's only worker."""

    url: str
    pid: int

    def most_held(self) -> int:
        """Bytes of memory that it ever had at once."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture
def worker(settings: Settings, sandbox_url: str) -> Iterator[Worker]:
    """A replica of the broker in this process: the same store, keys and providers."""
    assert settings.redis_url is not None
    assert settings.encryption_keys is not None
    keys = (f"{kid}:{base64.b64encode(key).decode()}" for kid, key in settings.encryption_keys)
    variables = {
        "BROKER_REDIS_URL": settings.redis_url.get_secret_value(),
        "BROKER_ENCRYPTION_KEYS": ",".join(keys),
        "BROKER_BACKGROUND_ENABLED": "false",
        "BROKER_LOG_LEVEL": "WARNING",
        "PRACTICE": sandbox_url,
    }
    with broker_to_signal(variables) as (url, process):
        children = subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()
        (pid,) = (int(c) for c in children if b"broker.app.worker" in Path(f"/proc/{c}/cmdline").read_bytes())
        yield Worker(url, pid)


async def stuck(sandbox: httpx2.AsyncClient, count: str) -> int:
    """How many bytes the practice provider has ``sent`` or ``received``, once they grow no more."""
    seen: list[int] = []
    while len(seen) < _STILL or len(set(seen[-_STILL:])) > 1:
        state: dict[str, Any] = (await sandbox.get("/control/streams")).json()
        seen.append(int(state[count]))
        await asyncio.sleep(0.01)
    return seen[-1]


async def test_what_is_streamed_is_not_held(
    worker: Worker, app: ServiceClient, connection: dict[str, str], sandbox_url: str, sandbox: httpx2.Client
) -> None:
    """Down and up, while one side waits for the other and then at full speed: each byte passes, few are kept."""
    headers = {"Authorization": f"Bearer {await app.broker_token()}"}
    base = f"/proxy/{connection['id']}/streams"
    async with (
        httpx2.AsyncClient(base_url=worker.url, headers=headers, trust_env=False, timeout=60) as http,
        httpx2.AsyncClient(base_url=sandbox_url, trust_env=False) as provider,
    ):
        await http.get(f"{base}/bytes?size=1000000")
        before = worker.most_held()
        sent = await stuck(provider, "sent")
        received, sha256 = 0, hashlib.sha256()
        async with http.stream("GET", f"{base}/bytes?size={_DOWN}") as answer:
            assert await stuck(provider, "sent") - sent < _STUCK
            async for piece in answer.aiter_raw():
                received += len(piece)
                sha256.update(piece)
        expected = hashlib.sha256()
        for _ in range(_DOWN // len(BLOCK)):
            expected.update(BLOCK)
        assert (received, sha256.hexdigest()) == (_DOWN, expected.hexdigest())
        assert worker.most_held() - before < _ROOM

        pushed = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal pushed
            for _ in range(_UP // len(BLOCK)):
                yield BLOCK
                pushed += len(BLOCK)

        uploading = asyncio.create_task(http.post(f"{base}/upload?channel=go", content=pieces()))
        seen: list[int] = []
        while pushed == 0 or len(seen) < _STILL or len(set(seen[-_STILL:])) > 1:
            seen.append(pushed)
            await asyncio.sleep(0.01)
        assert 0 < pushed < _STUCK
        sandbox.post("/control/events", json={"channel": "go", "data": "go"}).raise_for_status()
        assert (await uploading).json()["received"] == _UP
        assert worker.most_held() - before < _ROOM
