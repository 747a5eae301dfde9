"""A broker with a wrong keyring before a store that knows another one: not ready, says why, and writes nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.errors import StoreUnavailable
from broker.models.access import CLIENT_SCOPES
from broker.providers import Registry
from broker.settings import Settings
from tests.journey import snapshot
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

RIGHT, OTHER = bytes(range(32)), bytes(range(64, 96))
Ring = tuple[tuple[str, bytes], ...]


@asynccontextmanager
async def broker_with(
    ring: Ring, settings: Settings, providers: Registry, clock: FakeClock
) -> AsyncIterator[tuple[Heart, httpx2.AsyncClient]]:
    """A broker with this ring, started as a process starts it: with its background work."""
    settings = settings.model_copy(update={"encryption_keys": ring, "background_enabled": True})
    heart = build_heart(settings, providers, clock)
    app = app_of(heart)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=PUBLIC_URL) as http,
    ):
        yield heart, http


def requests(
    client: ServiceClient, token: str, session: dict[str, Any], connection_id: str
) -> dict[str, dict[str, Any]]:
    """A request of each kind that would write, by what it asks for."""
    bearer, basic = {"Authorization": f"Bearer {token}"}, (client.client_id, client.secret)
    one = f"/v1/connections/{connection_id}"
    form = {"grant_type": "client_credentials"}
    return {
        "broker token": {"method": "POST", "url": "/oauth/token", "data": form, "auth": basic},
        "fetch": {"method": "POST", "url": f"{one}/token", "headers": bearer},
        "refresh": {"method": "POST", "url": f"{one}/refresh", "headers": bearer},
        "disconnect": {"method": "DELETE", "url": one, "headers": bearer},
        "session": {
            "method": "POST",
            "url": "/v1/connect-sessions",
            "headers": bearer,
            "json": {"provider": "practice", "subject": "ann"},
        },
        "press": {
            "method": "POST",
            "url": session["connect_url"],
            "data": {"decision": "continue"},
            "headers": {"Origin": PUBLIC_URL},
        },
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((("k2", OTHER),), "'k1', which is not in the keyring"),
        ((("k1", OTHER),), "'k1' is not the key the store knows"),
        ((("k2", RIGHT), ("k1", OTHER)), "'k1' is not the key the store knows"),
    ],
    ids=["key missing", "another key under its id", "among others"],
)
async def test_a_wrong_ring_is_not_ready_and_writes_nothing(
    make_client: Callable[..., Awaitable[ServiceClient]],
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    settings: Settings,
    providers: Registry,
    clock: FakeClock,
    raw_store: redis.Redis,
    wrong: Ring,
    said: str,
) -> None:
    """/readyz gives the reason, requests are 503s, the store is byte for byte as before; the right ring works."""  # K6
    app = await make_client()
    connection = await app.connect(Person(http))
    session = await app.open_session()
    token = await app.broker_token()
    before, asked = snapshot(raw_store), sandbox.get("/counters").json()

    async with broker_with(wrong, settings, providers, clock) as (heart, face):
        ready = await face.get("/readyz")
        assert ready.status_code == 503
        assert [said in reason for reason in ready.json()["reasons"]] == [True]
        assert (await face.get("/livez")).status_code == 200
        for what, request in requests(app, token, session, connection["id"]).items():
            answer = await face.request(**request)
            assert answer.status_code == 503, what
            assert int(answer.headers["Retry-After"]) >= 1, what
        with pytest.raises(StoreUnavailable):
            await heart.clients.create("new", scopes=CLIENT_SCOPES)
        assert snapshot(raw_store) == before
    assert snapshot(raw_store) == before
    assert sandbox.get("/counters").json() == asked

    async with broker_with((("k1", RIGHT),), settings, providers, clock) as (_, face):
        assert (await face.get("/readyz")).status_code == 200
        fetched = await ServiceClient(face, app.client_id, app.secret).fetch(connection["id"])
        assert fetched.status_code == 200
