"""A reference can say which of the provider's scopes its redeemer counts on; without them nothing is released."""

import json
from io import StringIO
from typing import Any

import httpx2
import pytest
import redis

from broker.vault import names
from tests.downstream.answers import code_of, oauth_error_of
from tests.downstream.oauth.calls import introspect, reference_for
from tests.journey import snapshot
from tests.world import FakeClock, ServiceClient

NEEDED = {"required_scopes": ["messages.read", "profile"]}


@pytest.fixture
async def connection(app: ServiceClient, sandbox: httpx2.Client) -> dict[str, Any]:
    """A connection with two scopes."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}, "scopes": ["profile", "messages.read"]}
    made: dict[str, Any] = (await app.call("POST", "/v1/connections", body)).raise_for_status().json()
    return made


async def _narrow(app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, *scopes: str) -> None:
    """The provider grants only these from now on."""
    sandbox.post("/control", json={"granted_scopes": scopes}).raise_for_status()
    (await app.call("POST", f"/v1/connections/{connection['id']}/refresh")).raise_for_status()


async def test_a_connection_that_lacks_scopes_issues_none(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """409, and which; nothing is stored."""  # P6
    before = snapshot(raw_store)
    order = {"audience": app.client_id, "required_scopes": ["profile", "messages.send", "calendar"]}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    assert (answer.status_code, code_of(answer)) == (409, "missing_provider_scopes")
    assert answer.json()["missing"] == ["messages.send", "calendar"]
    assert snapshot(raw_store) == before


async def test_scopes_that_are_made_up_are_told_to_the_client_alone(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, logged: StringIO
) -> None:
    """They may be anything; the log says what is wrong, whether a reference is issued or redeemed."""
    order = {"audience": app.client_id, "required_scopes": ["planted-scope"]}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    assert answer.json()["missing"] == ["planted-scope"]
    reference = await reference_for(app, connection, app, **NEEDED)
    await _narrow(app, connection, sandbox, "profile")
    assert "messages.read" in (await app.redeem(reference)).json()["error_description"]
    lines = [line for line in map(json.loads, logged.getvalue().splitlines()) if line.get("status", 0) >= 400]
    assert [line["refusal"] for line in lines] == ["the connection lacks provider scopes"] * 2
    assert "planted-scope" not in logged.getvalue()


async def test_what_is_there_is_released(app: ServiceClient, connection: dict[str, Any]) -> None:
    """All of them, in any order; more than are needed do no harm."""
    answer = await app.redeem(await reference_for(app, connection, app, **NEEDED))
    assert answer.status_code == 200
    assert set(answer.json()["scope"].split()) == {"profile", "messages.read"}


async def test_scopes_that_were_taken_back_meanwhile_release_nothing(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Looked at in the very step that would release: nothing is spent, nothing recorded, and it says which."""  # P6
    reference = await reference_for(app, connection, app, **NEEDED)
    await _narrow(app, connection, sandbox, "profile")
    before = snapshot(raw_store)
    answer = await app.redeem(reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert answer.json()["code"] == "missing_provider_scopes"
    assert "messages.read" in answer.json()["error_description"]
    assert snapshot(raw_store) == before
    assert (await introspect(app, reference)).json()["remaining_uses"] == 1
    await _narrow(app, connection, sandbox, "profile", "messages.read")
    assert (await app.redeem(reference)).status_code == 200


async def test_a_scope_that_comes_back_with_the_refresh_is_enough(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """A token that has to be replaced is replaced first: what counts is what the new one allows."""
    reference = await reference_for(app, connection, app, expires_in=3600, **NEEDED)
    await _narrow(app, connection, sandbox, "profile")
    sandbox.post("/control", json={"granted_scopes": None}).raise_for_status()
    assert (await app.redeem(reference)).status_code == 400
    clock.advance(seconds=1800)
    answer = await app.redeem(reference, min_ttl="3600")
    assert answer.status_code == 200
    assert set(answer.json()["scope"].split()) == {"profile", "messages.read"}


@pytest.mark.parametrize("held", ["messages.readall", "xmessages.read", "messages.read2 profile", ""])
async def test_a_scope_is_a_whole_word(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis, held: str
) -> None:
    """Neither a part of a longer name counts, nor a pattern: a dot is a dot."""
    reference = await reference_for(app, connection, app, required_scopes=["messages.read"])
    raw_store.hset(names.record(connection["id"]), "sc", held)
    assert (await app.redeem(reference)).json().get("code") == "missing_provider_scopes"
    raw_store.hset(names.record(connection["id"]), "sc", "messagesXread messages.read")
    assert (await app.redeem(reference)).status_code == 200


async def test_a_reference_of_the_version_before_needs_none(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """It has no such field."""
    reference = await reference_for(app, connection, app)
    [key] = raw_store.scan_iter("*:ref:*")
    assert raw_store.hdel(key, "need") == 1
    assert (await app.redeem(reference)).status_code == 200


@pytest.mark.parametrize("scopes", [["a b"], [""], ["x" * 256], ["é"], ["a\n"], ["a"] * 101, "profile", [1]])
async def test_what_is_no_scope_is_refused(app: ServiceClient, connection: dict[str, Any], scopes: Any) -> None:
    """400, naming the field."""
    order = {"audience": app.client_id, "required_scopes": scopes}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"].startswith("required_scopes")
