"""Issuing references: to whom, for how long, how often."""

from typing import Any

import httpx2
import pytest
import redis

from tests.downstream.answers import code_of
from tests.journey import MakeClient, snapshot
from tests.world import Person, ServiceClient


async def test_a_reference_names_its_connection_and_nothing_else(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """201, cached by nobody; without wishes it lives five minutes for one use."""
    path = f"/v1/connections/{connection['id']}/references"
    answer = await app.call("POST", path, {"audience": app.client_id})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"reference", "expires_in"}
    assert body["expires_in"] == 300
    prefix, owner, secret = body["reference"].split("_")
    assert (prefix, f"con_{owner}") == ("ref", connection["id"])
    assert len(secret) == 43


@pytest.mark.parametrize("audience", ["cl_" + "0" * 22, "nobody", "a client of another tenant"])
async def test_the_audience_must_be_a_client_of_the_tenant(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, raw_store: redis.Redis, audience: str
) -> None:
    """Unknown and foreign are answered alike; nothing is issued."""  # S5
    if " " in audience:
        audience = (await make_client("elsewhere", tenant="elsewhere")).client_id
    before = snapshot(raw_store)
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": audience})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"] == [
        {"field": "audience", "message": "no client of this tenant has this client_id"},
    ]
    assert snapshot(raw_store) == before


@pytest.mark.parametrize(
    "wish",
    [{"expires_in": 0}, {"expires_in": 3601}, {"max_uses": 0}, {"max_uses": 1001}, {"max_uses": "x"}, {"uses": 1}],
)
async def test_a_reference_lives_an_hour_and_a_thousand_uses_at_most(
    app: ServiceClient, connection: dict[str, Any], wish: dict[str, Any]
) -> None:
    """A capability is not a password."""
    order = {"audience": app.client_id, **wish}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == list(wish)


async def test_a_dead_connection_issues_none(app: ServiceClient, connection: dict[str, Any]) -> None:
    """409, with the code that says what to do."""
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id})
    assert (answer.status_code, code_of(answer)) == (409, "reauth_required")


async def test_issuing_is_on_record_without_the_reference(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """Who issued what for whom; the reference itself is nowhere in it."""
    worker = await make_client("worker")
    order = {"audience": worker.client_id, "expires_in": 60, "max_uses": 2}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    listed = await app.call("GET", f"/v1/connections/{connection['id']}/events?type=reference.issued")
    [event] = listed.json()["items"]
    assert event["client_id"] == app.client_id
    assert event["request_id"] == answer.headers["x-request-id"]
    assert event["data"] == {"provider": "practice", "audience": worker.client_id, "expires_in": 60, "max_uses": 2}
    assert answer.json()["reference"] not in listed.text


async def test_completing_a_session_answers_a_reference_for_the_caller(
    app: ServiceClient, person: Person, sandbox: httpx2.Client
) -> None:
    """One use; a repeat answers the same connection and another reference."""
    opened = await app.open_session()
    returned = await person.connect(opened["connect_url"])
    answers = [(await app.complete(opened["id"], returned["completion_code"])).json() for _ in range(2)]
    assert answers[0]["connection"] == answers[1]["connection"]
    assert answers[0]["reference"] != answers[1]["reference"]
    for answer in answers:
        assert answer["expires_in"] == 300
        assert (await app.redeem(answer["reference"])).status_code == 200
        assert (await app.redeem(answer["reference"])).status_code == 400


async def test_who_may_not_redeem_completes_without_a_reference(
    make_client: MakeClient, person: Person, sandbox: httpx2.Client
) -> None:
    """A reference that nobody could use is not issued."""
    client = await make_client(scopes=("connect",))
    opened = await client.open_session()
    returned = await person.connect(opened["connect_url"])
    answer = (await client.complete(opened["id"], returned["completion_code"])).json()
    assert answer.keys() == {"connection"}
