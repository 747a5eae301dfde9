"""What tests of the services' faces share: a service with every scope, and connections of its own."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from tests.downstream.members import MakeMember, Member, register
from tests.downstream.rows import AUTHORIZED, Scene
from tests.journey import MakeClient
from tests.observe.capture import logged
from tests.world import FakeClock, Person, ServiceClient

__all__ = ["logged"]


@pytest.fixture(scope="session", autouse=True)
def authorized(sandbox_url: str) -> None:
    """The request of the row that needs an address of the practice provider."""
    AUTHORIZED["url"] = f"{sandbox_url}/api/messages"


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope, in the tenant ``default``."""
    return await make_client("app")


@pytest.fixture
async def connection(app: ServiceClient) -> dict[str, Any]:
    """A connection of the app itself, made without a browser."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}}
    answer = await app.call("POST", "/v1/connections", body)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


@pytest.fixture
def person(http: httpx2.AsyncClient) -> Person:
    """A person with a browser."""
    return Person(http)


@pytest.fixture
def make_member(heart: Heart, http: httpx2.AsyncClient, clock: FakeClock) -> MakeMember:
    """``await make_member(grant, scopes=…, tenant=…)``: a client that proves itself by that grant."""

    async def make(grant: str, **given: Any) -> Member:
        return await register(http, heart.clients, clock, grant, **given)

    return make


@pytest.fixture
async def scene(app: ServiceClient, connection: dict[str, Any], make_client: MakeClient) -> Scene:
    """The app, with a connection, a session, a client beside it, and a provider."""
    session = await app.open_session()
    beside = await make_client("beside")
    return Scene(
        app,
        {
            "connection": connection["id"],
            "session": session["id"],
            "client": beside.client_id,
            "provider": "practice",
            "handle": session["connect_url"].rsplit("/", 1)[1],
        },
    )
