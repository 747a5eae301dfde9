"""A connection's life without a browser: made by the app itself, refreshed and tested on demand."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from tests.connections.practice import behave, refreshes
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


def whoamis(sandbox: httpx2.Client) -> int:
    """How often the provider was asked whose token it is."""
    return int(sandbox.get("/counters").json()["whoami"])


async def post(app: ServiceClient, path: str, body: Any = None) -> httpx2.Response:
    """A POST with a broker token of this moment."""
    return await ServiceClient(app.http, app.client_id, app.secret).call("POST", path, body)


async def test_an_app_connects_itself(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """The client credentials grant makes a connection at once; its token works, and no person took part."""
    body = {
        "provider": "practice",
        "subject": "robot",
        "credentials": {},
        "scopes": ["messages.read"],
        "label": "nightly",
        "metadata": {"team": 7},
    }
    made = await post(app, "/v1/connections", body)
    assert made.status_code == 201
    connection = made.json()
    assert (connection["credential_type"], connection["scopes"]) == ("client_credentials", ["messages.read"])
    assert (connection["label"], connection["metadata"]) == ("nightly", {"team": 7})
    token = (await app.fetch(connection["id"])).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{sandbox.base_url}/api/messages", headers=bearer).status_code == 200
    counters = sandbox.get("/counters").json()
    assert counters["token"]["client_credentials"] == {"ok": 1, "error": 0}
    assert counters["authorize"] == 0


async def test_a_provider_that_is_not_ready_makes_none(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """The answer names what is missing and nothing is sent."""
    made = await post(app, "/v1/connections", {"provider": "unconfigured", "subject": "robot", "credentials": {}})
    assert (made.status_code, made.json()["code"]) == (409, "conflict")
    assert "NOT_SET_ANYWHERE" in made.json()["detail"]
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 0, "error": 0}


async def test_a_refresh_on_demand_happens_whatever_the_tokens_age(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Each call is one refresh, and answers the connection afterwards."""
    connection = await app.connect(Person(http))
    for generation in (2, 3):
        refreshed = await post(app, f"/v1/connections/{connection['id']}/refresh")
        assert (refreshed.status_code, refreshed.json()["generation"]) == (200, generation)
    assert refreshes(sandbox) == (2, 0)
    assert refreshed.json()["health"]["last_refreshed_at"] is not None


async def test_a_living_connection_passes_its_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The provider says whose account it is; the token was good, so it was not refreshed."""
    connection = await app.connect(Person(http))
    asked = whoamis(sandbox)
    tested = await post(app, f"/v1/connections/{connection['id']}/test")
    assert tested.json()["status"] == "healthy"
    assert tested.json()["account"] == {"id": "usr_1001", "name": "alice@practice.example"}
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 1, (0, 0))


async def test_an_expired_token_is_refreshed_before_the_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """An old token proves nothing."""
    connection = await app.connect(Person(http))
    clock.advance(seconds=3601)
    asked = whoamis(sandbox)
    assert (await post(app, f"/v1/connections/{connection['id']}/test")).status_code == 200
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 1, (1, 0))


async def test_a_token_dead_before_its_time_is_refreshed_once(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The provider refuses a token that should live: a refresh tells whether the grant lives, and here it does."""
    connection = await app.connect(Person(http))
    behave(sandbox, expire_access_tokens=True)
    asked = whoamis(sandbox)
    tested = await post(app, f"/v1/connections/{connection['id']}/test")
    assert (tested.status_code, tested.json()["status"]) == (200, "healthy")
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 2, (1, 0))


async def test_a_dead_grant_fails_its_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The connection needs the person, and a second test asks nobody."""  # P7
    connection = await app.connect(Person(http))
    behave(sandbox, revoke_grants=True)
    asked = whoamis(sandbox)
    for _ in range(2):
        tested = await post(app, f"/v1/connections/{connection['id']}/test")
        assert (tested.status_code, tested.json()["code"]) == (409, "reauth_required")
    assert refreshes(sandbox) == (0, 1)
    assert whoamis(sandbox) <= asked + 2
