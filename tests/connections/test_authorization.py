"""Tests of :mod:`broker.connections.authorization`: renewing a connection, and giving back what is not kept."""

from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.records import Written
from tests.journey import MakeClient, exchanges, session_of
from tests.world import Person, ServiceClient, parameters_of

ALICE, BOB = "alice@practice.example", "bob@practice.example"


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """The app whose user has an account connected."""
    return await make_client(completions=("browser",))


@pytest.fixture
async def connection(app: ServiceClient, http: httpx2.AsyncClient) -> dict[str, Any]:
    """Alice's account, connected."""
    return await app.connect(Person(http, ALICE), label="mine", metadata={"team": 7})


async def completed(app: ServiceClient, person: Person, **body: Any) -> httpx2.Response:
    """Go the whole way, and complete it."""
    opened = await app.open_session(**body)
    returned = await person.connect(opened["connect_url"])
    return await app.complete(opened["id"], returned["completion_code"])


async def works(app: ServiceClient, sandbox: httpx2.Client, connection: dict[str, Any]) -> bool:
    """Whether the provider takes the connection's token."""
    token = (await app.fetch(connection["id"])).json()["access_token"]
    return sandbox.get("/whoami", headers={"Authorization": f"Bearer {token}"}).status_code == 200


async def test_renewing_keeps_the_connection(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, connection: dict[str, Any]
) -> None:
    """The same account under the same id: a new grant and generation; label, metadata and scopes stay."""
    opened = await app.open_session(connection_id=connection["id"])
    page = await Person(http).broker.get(opened["connect_url"])
    assert "wants to renew its connection" in page.text
    before = (await app.fetch(connection["id"])).json()
    renewed = (await completed(app, Person(http, ALICE), connection_id=connection["id"])).json()["connection"]
    for kept in ("id", "created_at", "label", "metadata", "requested_scopes", "account", "subject"):
        assert renewed[kept] == connection[kept], kept
    assert renewed["generation"] == connection["generation"] + 1
    after = (await app.fetch(connection["id"])).json()
    assert after["access_token"] != before["access_token"]
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1
    types = [event["type"] for event in (await app.call("GET", "/v1/events")).json()["items"]]
    assert types.count("connection.created") == types.count("connection.renewed") == 1


async def test_another_account_is_refused(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, connection: dict[str, Any]
) -> None:
    """Signed in as somebody else: 409, the connection is untouched, and what was just granted is given back."""
    # B14
    opened = await app.open_session(connection_id=connection["id"])
    returned = await Person(http, BOB).connect(opened["connect_url"])
    refused = await app.complete(opened["id"], returned["completion_code"])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert refused.json()["detail"].startswith("account_mismatch: ")
    assert "allow_account_change" in refused.json()["detail"]
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "account_mismatch")
    assert session["error_detail"] == refused.json()["detail"].removeprefix("account_mismatch: ")
    after = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert (after["account"], after["generation"]) == (connection["account"], connection["generation"])
    assert await works(app, sandbox, connection)
    assert exchanges(sandbox) == (2, 0)
    assert sandbox.get("/counters").json()["revoke"] >= 1
    again = await app.complete(opened["id"], returned["completion_code"])
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert again.json()["detail"] == f"the connect session failed: {refused.json()['detail']}"
    assert exchanges(sandbox) == (2, 0)


async def test_other_parameters_are_another_account(app: ServiceClient, http: httpx2.AsyncClient) -> None:
    """The same account id means somebody else at another realm, so a renewal can't change where it leads."""  # B14
    body = {"provider": "practice-realms", "parameters": {"realm": "practice"}}
    connection = (await completed(app, Person(http), **body)).json()["connection"]
    renewal = {"provider": "practice-realms", "connection_id": connection["id"]}
    opened = await app.call(
        "POST", "/v1/connect-sessions", {**renewal, "subject": "ann", "parameters": {"realm": "other"}}
    )
    assert (opened.status_code, opened.json()["errors"][0]["field"]) == (400, "parameters.realm")
    assert (await completed(app, Person(http), **renewal, parameters={"realm": "practice"})).status_code == 200
    assert (await completed(app, Person(http), **renewal)).status_code == 200


async def test_another_account_where_it_is_allowed(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    connection: dict[str, Any],
    raw_store: redis.Redis,
) -> None:
    """The app may allow the change; then the connection stands for the new account."""
    # B14
    body = {"connection_id": connection["id"], "allow_account_change": True}
    renewed = (await completed(app, Person(http, BOB), **body)).json()["connection"]
    assert (renewed["id"], renewed["account"]["name"]) == (connection["id"], BOB)
    assert await works(app, sandbox, renewed)
    # Of the two accounts' lists, one is gone.
    lists: Any = raw_store.keys(f"{names.PREFIX}account:*")
    assert [raw_store.smembers(key) for key in lists] == [{connection["id"].encode()}]


async def test_another_account_with_completion_browser(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, connection: dict[str, Any]
) -> None:
    """The app's return address and the session name the same reason."""
    # B14
    person = Person(http, BOB)
    opened = await app.open_session(connection_id=connection["id"], completion="browser")
    returned = await person.arrive(await person.approve(opened["connect_url"]))
    assert parameters_of(returned.headers["location"])["error"] == "account_mismatch"
    assert (await session_of(app, opened["id"]))["error"] == "account_mismatch"
    assert await works(app, sandbox, connection)


async def test_a_connection_that_ended_meanwhile_stays_ended(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, connection: dict[str, Any]
) -> None:
    """Disconnected while the person was away: the renewal finds no connection, and gives the new grant back."""
    opened = await app.open_session(connection_id=connection["id"])
    returned = await Person(http).connect(opened["connect_url"])
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    revoked = sandbox.get("/counters").json()["revoke"]
    assert (await app.complete(opened["id"], returned["completion_code"])).status_code == 409
    assert (await app.call("GET", f"/v1/connections/{connection['id']}")).json()["status"] == "revoked"
    assert sandbox.get("/counters").json()["revoke"] > revoked


async def test_a_renewal_brings_a_dead_connection_back(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, connection: dict[str, Any]
) -> None:
    """What needed the person again is active and works under the same id."""
    sandbox.post("/control", json={"revoke_grants": True}).raise_for_status()
    generation = (await app.fetch(connection["id"])).json()["generation"]
    assert (await app.fetch(connection["id"], stale_generation=generation)).status_code == 409
    seen = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert seen["status"] == "reauth_required"
    renewed = (await completed(app, Person(http), connection_id=connection["id"])).json()["connection"]
    assert renewed["status"] == "active"
    assert await works(app, sandbox, renewed)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_lost_answer_of_the_store_loses_no_grant(
    app: ServiceClient,
    heart: Heart,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    connection: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    stored: bool,
) -> None:
    """The write of a renewal fails, or worked and its answer was lost: it is repeated with one effect."""
    # R3
    replace = type(heart.records).replace
    failures: list[str] = []

    async def failing_once(*args: Any, **options: Any) -> Written:
        if failures:
            return await replace(*args, **options)
        if stored:
            await replace(*args, **options)
        failures.append("lost")
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(type(heart.records), "replace", failing_once)
    renewed = await completed(app, Person(http), connection_id=connection["id"])
    assert renewed.status_code == 200
    assert failures
    assert renewed.json()["connection"]["generation"] == connection["generation"] + 1
    assert await works(app, sandbox, connection)
    assert sandbox.get("/counters").json()["revoke"] == 0
