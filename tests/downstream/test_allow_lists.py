"""A client with an allow list is handed nothing that could be put on another request, by whatever route."""

from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from tests.downstream.answers import code_of, oauth_error_of
from tests.journey import MakeClient, everything_in, snapshot
from tests.machine import MakeMachine, approve
from tests.world import Person, ServiceClient

ALLOW = ("GET /messages", "GET /streams/echo/**")


@pytest.fixture
async def held(make_client: MakeClient) -> ServiceClient:
    """A client of the same tenant with every scope, and an allow list."""
    return await make_client("held", allow=ALLOW)


async def test_it_is_handed_no_token(held: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis) -> None:
    """403 at the token route, whether the connection exists or not; nothing is written."""
    await held.broker_token()
    before = snapshot(raw_store)
    for connection_id in (connection["id"], "con_" + "0" * 22):
        answer = await held.fetch(connection_id)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
        assert "allow list" in answer.json()["detail"]
    assert snapshot(raw_store) == before


async def test_it_redeems_no_reference(held: ServiceClient, app: ServiceClient, connection: dict[str, Any]) -> None:
    """Not one that was made for it; the reference stays unspent."""
    order = {"audience": held.client_id}
    issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    reference = issued.json()["reference"]
    refused = await held.redeem(reference)
    assert (refused.status_code, oauth_error_of(refused), refused.json()["code"]) == (
        400,
        "invalid_request",
        "forbidden",
    )
    live = await held.http.post("/oauth/introspect", data={"token": reference}, auth=(held.client_id, held.secret))
    assert live.json()["remaining_uses"] == 1


async def test_it_issues_no_reference(
    held: ServiceClient, app: ServiceClient, connection: dict[str, Any], person: Person
) -> None:
    """Neither for a client that is not held, nor for itself as it completes a session."""
    refused = await held.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id})
    assert (refused.status_code, code_of(refused)) == (403, "forbidden")
    opened = await held.open_session()
    returned = await person.connect(opened["connect_url"])
    completed = (await held.complete(opened["id"], returned["completion_code"])).json()
    assert completed.keys() == {"connection"}


async def test_its_machines_are_held_as_well(make_machine: MakeMachine, heart: Heart, http: httpx2.AsyncClient) -> None:
    """What a machine's broker token allows is what the client may do."""
    machine = await make_machine(allow=ALLOW)
    codes = await machine.begin()
    await approve(heart, Person(http), codes["user_code"])
    await machine.collect()
    assert code_of(await machine.fetch()) == "forbidden"
    refused = await machine.exchange()
    assert (oauth_error_of(refused), refused.json()["code"]) == ("invalid_request", "forbidden")


async def test_it_makes_no_client_that_could_do_more(held: ServiceClient, heart: Heart) -> None:
    """An administrator hands out at most its own entries; without a list the new client could do everything."""
    for allow in (None, ["DELETE /messages"], [*ALLOW, "GET /user"]):
        answer = await held.call("POST", "/v1/clients", {"name": "new", "scope": "proxy", "allow": allow})
        assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
        assert [fault["field"] for fault in answer.json()["errors"]] == ["allow"]
    assert [client.name for client in await heart.clients.list()] == ["held"]
    made = await held.call("POST", "/v1/clients", {"name": "new", "scope": "proxy", "allow": [ALLOW[0]]})
    assert made.json()["allow"] == [ALLOW[0]]


async def test_a_list_is_registered_and_shown(app: ServiceClient, raw_store: redis.Redis) -> None:
    """As it was given; an entry that is none is named by its place, and nothing is stored."""
    order = {"name": "new", "scope": "proxy", "allow": ["GET /a", "* /b/**"]}
    made = (await app.call("POST", "/v1/clients", order)).json()
    listed = (await app.call("GET", "/v1/clients")).json()["items"]
    assert {client["client_id"]: client["allow"] for client in listed} == {
        app.client_id: None,
        made["client_id"]: ["GET /a", "* /b/**"],
    }
    for allow, field in ((["GET /a", "get /b"], "allow.1"), ([], "allow"), (["GET /a"] * 101, "allow")):
        answer = await app.call("POST", "/v1/clients", {**order, "name": "wrong", "allow": allow})
        assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
        assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert b"wrong" not in everything_in(raw_store)
