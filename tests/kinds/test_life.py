"""A connection's life, whatever its credential is: changed, switched off and on, given a new one, stood in for."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.connections.api_calls import ApiRequest
from broker.models.access import Reach
from broker.models.connection import Status
from broker.models.event import Event
from tests.kinds.cases import ALICE_KEY, BOB_KEY, CASES, Case, created, made_by
from tests.world import FakeClock, ServiceClient

by_case = pytest.mark.parametrize("case", CASES, ids=str)


async def patch(app: ServiceClient, connection: dict[str, Any], **change: Any) -> httpx2.Response:
    """``PATCH`` of the connection."""
    return await app.call("PATCH", f"/v1/connections/{connection['id']}", change)


def revoke(sandbox: httpx2.Client, key: str) -> None:
    """The practice provider takes a key back."""
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()


@by_case
async def test_switched_off_it_serves_nobody_until_it_is_switched_on(app: ServiceClient, case: Case) -> None:
    """Neither token nor authorization nor proxy."""
    connection = await created(app, case.provider, case.good)
    path = f"/v1/connections/{connection['id']}"
    off = await patch(app, connection, status="disabled")
    assert (off.status_code, off.json()["status"], off.json()["generation"]) == (200, "disabled", 1)
    base = (await app.call("GET", f"/v1/providers/{case.provider}")).json()
    assert base["type"] == connection["credential_type"]
    for method, route, body in (
        ("POST", f"{path}/token", {}),
        ("POST", f"{path}/test", None),
        ("GET", f"/proxy/{connection['id']}/whoami", None),
    ):
        answer = await app.call(method, route, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    on = await patch(app, connection, status="active")
    assert on.json()["status"] == "active"
    assert (await app.call("GET", f"/proxy/{connection['id']}/whoami")).status_code == 200


@by_case
async def test_the_old_credential_stays_until_the_new_one_is_known_to_work(app: ServiceClient, case: Case) -> None:
    """A wrong one changes nothing; a good one takes its place."""
    connection = await created(app, case.provider, case.good)
    refused = await patch(app, connection, credentials=dict(case.wrong), label="new")
    assert (refused.status_code, refused.json()["step"]) == (422, "live_test")
    assert (await app.call("GET", f"/v1/connections/{connection['id']}")).json() == connection
    renewed = await patch(app, connection, credentials=dict(case.good), label="new")
    assert (renewed.status_code, renewed.json()["generation"], renewed.json()["label"]) == (200, 2, "new")
    assert (await app.call("POST", f"/v1/connections/{connection['id']}/test")).status_code == 200


async def test_another_accounts_credential_is_refused_unless_that_is_meant(app: ServiceClient) -> None:
    """The connection stands for one account."""  # B14
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    refused = await patch(app, connection, credentials={"api_key": BOB_KEY})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    taken = await patch(app, connection, credentials={"api_key": BOB_KEY}, allow_account_change=True)
    assert taken.json()["account"]["name"] == "bob@practice.example"


async def test_a_key_that_may_do_too_little_is_refused(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """The step says so, and what is missing."""
    sandbox.post("/control", json={"key_scopes": ["profile"]}).raise_for_status()
    body = {"provider": "practice-key", "subject": "ann", "credentials": {"api_key": ALICE_KEY}}
    refused = await app.call("POST", "/v1/connections", body)
    assert (refused.status_code, refused.json()["step"]) == (422, "permissions")
    assert refused.json()["missing"] == ["messages.read"]
    enough = await app.call("POST", "/v1/connections", {**body, "scopes": ["profile"]})
    assert enough.json()["scopes"] == ["profile"]
    unasked = await app.call("POST", "/v1/connections", {**body, "validate": False})
    assert unasked.status_code == 201


async def test_a_merge_patch_changes_what_it_names(app: ServiceClient) -> None:
    """RFC 7396: members are merged, ``null`` removes, all else stays."""
    connection = await created(
        app, "practice-key", {"api_key": ALICE_KEY}, label="one", metadata={"a": {"b": 1, "c": 2}}
    )
    changed = await app.call(
        "PATCH",
        f"/v1/connections/{connection['id']}",
        {"metadata": {"a": {"b": None, "d": 3}, "e": [None]}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert changed.json()["metadata"] == {"a": {"c": 2, "d": 3}, "e": [None]}
    assert changed.json()["label"] == "one"
    bare = (await patch(app, connection, label=None, metadata=None)).json()
    assert (bare["label"], bare["metadata"]) == (None, {})
    nothing = await patch(app, connection)
    assert nothing.json()["updated_at"] == bare["updated_at"]
    assert (await patch(app, connection, status=None, credentials=None)).json()["updated_at"] == bare["updated_at"]


async def test_a_revoked_key_has_to_be_replaced(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """A test finds it out; a new key of the same account mends it."""
    key = made_by(sandbox, "api_key")
    connection = await created(app, "practice-key", {"api_key": key["api_key"]})
    path = f"/v1/connections/{connection['id']}"
    revoke(sandbox, key["api_key"])
    tested = await app.call("POST", f"{path}/test")
    assert (tested.status_code, tested.json()["code"]) == (409, "reauth_required")
    shown = (await app.call("GET", path)).json()
    assert (shown["status"], shown["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")
    assert (await app.fetch(connection["id"])).status_code == 409
    assert (await patch(app, connection, status="active")).status_code == 409
    renewed = await patch(app, connection, credentials={"api_key": ALICE_KEY})
    assert renewed.json()["status"] == "active"
    assert (await app.fetch(connection["id"])).json()["access_token"] == ALICE_KEY


async def test_another_connection_of_the_same_account_stands_in(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Only while the first has to be authorized again, and the answer says which one served."""
    key = made_by(sandbox, "api_key")
    first = await created(app, "practice-key", {"api_key": key["api_key"]})
    second = await created(app, "practice-key", {"api_key": ALICE_KEY})
    named = await patch(app, first, fallback=second["id"])
    assert (named.status_code, named.json()["fallback"]) == (200, second["id"])
    assert "fallback_for" not in (await app.fetch(first["id"])).json()
    revoke(sandbox, key["api_key"])
    assert (await app.call("POST", f"/v1/connections/{first['id']}/test")).status_code == 409
    served = (await app.fetch(first["id"])).json()
    assert (served["access_token"], served["connection_id"], served["fallback_for"]) == (
        ALICE_KEY,
        second["id"],
        first["id"],
    )
    proxied = await app.call("GET", f"/proxy/{first['id']}/whoami")
    assert (proxied.status_code, proxied.headers["broker-connection"]) == (200, second["id"])
    await patch(app, second, status="disabled")
    assert (await app.fetch(first["id"])).json()["code"] == "reauth_required"


async def test_never_another_account(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Neither when it is named, nor when the account has changed since."""
    key = made_by(sandbox, "api_key")
    first = await created(app, "practice-key", {"api_key": key["api_key"]})
    bobs = await created(app, "practice-key", {"api_key": BOB_KEY})
    someone = await created(app, "practice-key", {"api_key": ALICE_KEY}, subject="eve")
    unknown = await created(app, "practice-key", {"api_key": ALICE_KEY}, validate=False)
    for other in (bobs, someone, unknown, first, {"id": "con_" + "0" * 22}):
        refused = await patch(app, first, fallback=other["id"])
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "fallback")
    second = await created(app, "practice-key", {"api_key": ALICE_KEY})
    assert (await patch(app, first, fallback=second["id"])).status_code == 200
    await patch(app, second, credentials={"api_key": BOB_KEY}, allow_account_change=True)
    revoke(sandbox, key["api_key"])
    assert (await app.call("POST", f"/v1/connections/{first['id']}/test")).status_code == 409
    assert (await app.fetch(first["id"])).json()["code"] == "reauth_required"


async def test_metadata_stays_within_its_bounds_however_it_grows(app: ServiceClient) -> None:
    """Each patch is small enough, and all together would not be."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY}, metadata={f"a{n}": n for n in range(40)})
    refused = await patch(app, connection, metadata={f"b{n}": n for n in range(11)})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "metadata")
    assert (await app.call("GET", f"/v1/connections/{connection['id']}")).json() == connection


async def test_changes_at_the_same_moment_all_happen(app: ServiceClient, heart: Heart) -> None:
    """Whoever finds that somebody was faster looks again; and nobody overwrites what they did not see."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY}, metadata={})
    await asyncio.gather(*(patch(app, connection, metadata={f"m{n}": n}) for n in range(4)))
    now = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert now["metadata"] == {f"m{n}": n for n in range(4)}
    seen = await heart.records.read(connection["id"])
    assert seen is not None
    await patch(app, connection, label="faster")
    event = Event.about("connection.updated", seen, at=heart.clock())
    assert not await heart.records.amend(seen, replace(seen, label="slower"), event)


async def test_what_is_not_renewed_says_so(app: ServiceClient) -> None:
    """A test is what helps."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    refused = await app.call("POST", f"/v1/connections/{connection['id']}/refresh")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "not renewed" in refused.json()["detail"]


async def test_a_test_that_asks_nobody_brings_nothing_back(app: ServiceClient, heart: Heart) -> None:
    """Without a whoami nobody knows whether it works again."""
    connection = await created(app, "practice-none", {})
    seen = await heart.records.read(connection["id"])
    assert seen is not None
    assert await heart.records.annotate(seen, status=Status.REAUTH_REQUIRED, updated_at=seen.updated_at)
    tested = await app.call("POST", f"/v1/connections/{connection['id']}/test")
    assert (tested.status_code, tested.json()["code"]) == (409, "reauth_required")


async def test_a_refusal_by_the_api_is_looked_into_and_the_fallback_comes_in(
    app: ServiceClient, sandbox: httpx2.Client, heart: Heart, clock: FakeClock
) -> None:
    """The caller is told what the API said; whether it is the key a test tells, once a minute at most."""
    key = made_by(sandbox, "api_key")["api_key"]
    first = await created(app, "practice-key", {"api_key": key})
    second = await created(app, "practice-key", {"api_key": ALICE_KEY})
    await patch(app, first, fallback=second["id"])
    clock.advance(seconds=61)
    revoke(sandbox, key)
    refused = await app.call("GET", f"/proxy/{first['id']}/messages")
    assert (refused.status_code, refused.headers["broker-connection"]) == (401, first["id"])
    assert await heart.api_calls.drain(60) == 0
    assert (await app.call("GET", f"/v1/connections/{first['id']}")).json()["status"] == "reauth_required"
    served = await app.call("GET", f"/proxy/{first['id']}/messages")
    assert (served.status_code, served.headers["broker-connection"]) == (200, second["id"])


async def test_an_api_that_refuses_again_and_again_costs_one_test(
    app: ServiceClient, sandbox: httpx2.Client, heart: Heart, clock: FakeClock
) -> None:
    """What is refused may be the request and not the key."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    clock.advance(seconds=61)
    asked = sandbox.get("/counters").json()["whoami"]
    for _ in range(3):
        release = await heart.tokens.use(
            connection["id"],
            reach=Reach(connection["tenant"], None),
            event=Event(type="proxy.requested", tenant=connection["tenant"], at=heart.clock()),
            leaves=False,
        )
        request = ApiRequest("GET", "http://127.0.0.1/", [])
        seen, _ = release.whole or pytest.fail("nothing was released")
        place = heart.api_calls.place_of(seen)
        again = heart.api_calls.send_again(
            place, request, release, reach=Reach(connection["tenant"], None), event=Event("x", connection["tenant"], 0)
        )
        assert await again is None
        await heart.api_calls.drain(5)
    assert sandbox.get("/counters").json()["whoami"] == asked + 1


async def test_a_change_says_what_it_is_about(app: ServiceClient) -> None:
    """What only goes with a credential is not passed over in silence; and who is switched off is not ill."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    assert (await patch(app, connection, scopes=["profile"])).status_code == 400
    refused = await patch(app, connection, credentials={"api_key": BOB_KEY})
    assert "allow_account_change" in refused.json()["detail"]
    assert (await patch(app, connection, status="disabled")).json()["health"]["status"] == "healthy"


async def test_a_token_says_whether_it_is_a_bearer_token(app: ServiceClient) -> None:
    """RFC 8693 §2.2.1 has a word for what goes onto a request otherwise."""
    for provider, kind in (("practice-key", "N_A"), ("practice-key-query", "N_A"), ("practice-bearer", "Bearer")):
        connection = await created(app, provider, {"api_key": ALICE_KEY})
        assert (await app.fetch(connection["id"])).json()["token_type"] == kind
