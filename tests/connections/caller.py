"""A service that fetches one connection while its provider misbehaves and time passes; and the faults by kind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.vault import names
from tests.journey import MakeClient
from tests.world import FakeClock, Person, ServiceClient

UNKNOWN = (
    *("hang", "trickle", "cut"),  # P1
    *("status_500", "status_503", "html", "array", "huge", "gzip_bomb"),  # P2
    "no_access_token",  # P3
)
"""After these nobody knows whether the refresh token was used up."""
REFUSED = (
    *("ok_false", "token_with_400"),  # P3
    "invalid_client",  # P8
)
"""A clear no, that says nothing about the grant."""


class Caller:
    """A service that fetches one connection, with a broker token of the moment."""

    def __init__(
        self, app: ServiceClient, person: Person, connection_id: str, clock: FakeClock, raw_store: redis.Redis
    ) -> None:
        self._app = app
        self._raw_store = raw_store
        self._person = person
        self.connection_id = connection_id
        self._clock = clock

    async def fetch(self, **body: Any) -> httpx2.Response:
        """``POST …/token``."""
        return await self._now().fetch(self.connection_id, **body)

    async def shown(self) -> dict[str, Any]:
        """The connection as the API shows it."""
        answer = await self._now().call("GET", f"/v1/connections/{self.connection_id}")
        shown: dict[str, Any] = answer.raise_for_status().json()
        return shown

    async def reconnect(self) -> None:
        """The person authorizes the connection anew."""
        entry = (await self.shown())["provider"]
        await self._now().connect(self._person, connection_id=self.connection_id, provider=entry)

    async def disconnect(self) -> dict[str, Any]:
        """End the connection; answers what became of it at the provider."""
        answer = await self._now().call("DELETE", f"/v1/connections/{self.connection_id}")
        upstream: dict[str, Any] = answer.raise_for_status().json()["upstream"]
        return upstream

    async def recovered(self) -> dict[str, Any]:
        """What is served once the broker asks a provider again that is well; time passes meanwhile."""
        for _ in range(20):
            answer = await self.fetch()
            if answer.status_code not in (502, 503):
                break
            self._clock.advance(seconds=5)
            self._end_pauses()
            await asyncio.sleep(0.05)
        served: dict[str, Any] = answer.raise_for_status().json()
        return served

    def _end_pauses(self) -> None:
        """Have the pauses be over that the broker makes at the provider: they are measured by the store's clock."""
        for key in self._raw_store.scan_iter(f"{names.PREFIX}{{gate:*:state"):
            self._raw_store.hset(key, mapping={"since": 0, "ends": 0})

    def _now(self) -> ServiceClient:
        return ServiceClient(self._app.http, self._app.client_id, self._app.secret)


Connect = Callable[..., Awaitable[Caller]]
"""The ``connect`` fixture."""


@pytest.fixture
async def connect(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
) -> Connect:
    """Connects the account at an entry, and answers who fetches it."""
    app = await make_client()

    async def connected(provider: str = "practice") -> Caller:
        person = Person(http)
        connection = await app.connect(person, provider=provider)
        return Caller(app, person, connection["id"], clock, raw_store)

    return connected
