"""A connection that stands in for another of the same account, and when it does not."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.errors import ReauthRequired
from broker.models.access import Reach
from broker.models.event import Event
from tests.journey import MakeClient
from tests.kinds.cases import ALICE_KEY, created, made_by
from tests.world import ServiceClient


async def pair(app: ServiceClient, sandbox: httpx2.Client, other: str = "practice-key") -> tuple[str, str]:
    """A connection whose key was taken back, and one of the same account that it names."""
    key = made_by(sandbox, "api_key")["api_key"]
    first = await created(app, "practice-key", {"api_key": key})
    second = await created(app, other, {"api_key": ALICE_KEY})
    named = await change(app, first["id"], fallback=second["id"])
    assert named.status_code == 200, named.text
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    assert (await app.call("POST", f"/v1/connections/{first['id']}/test")).status_code == 409
    return first["id"], second["id"]


async def change(app: ServiceClient, connection_id: str, **wanted: Any) -> httpx2.Response:
    """``PATCH``."""
    return await app.call("PATCH", f"/v1/connections/{connection_id}", wanted)


async def test_the_same_id_at_another_whoami_is_another_account(app: ServiceClient) -> None:
    """Two providers may both have a user 1001."""
    first = await created(app, "practice-key", {"api_key": ALICE_KEY})
    second = await created(app, "practice-bearer", {"api_key": ALICE_KEY})
    assert first["account"] == second["account"]
    refused = await change(app, first["id"], fallback=second["id"])
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (
        400,
        "nobody can tell that it is the same account: they are asked about at different addresses (identity.url)",
    )


async def test_a_client_is_served_by_nothing_beyond_its_reach(
    app: ServiceClient, make_client: MakeClient, sandbox: httpx2.Client
) -> None:
    """Neither can it name what it doesn't see, nor is it served by what somebody else named."""  # S5
    first, second = await pair(app, sandbox, "practice-key-sealed")
    narrow = await make_client("narrow", providers=["practice-key"])
    assert (await narrow.call("GET", f"/proxy/{first}/whoami")).json()["code"] == "reauth_required"
    assert (await change(narrow, first, fallback=second)).json()["errors"][0][
        "message"
    ] == "there is no such connection"
    assert (await app.call("GET", f"/proxy/{first}/whoami")).headers["broker-connection"] == second
    # Its key never leaves, so here it can't serve; what is asked for is still the first.
    assert (await app.fetch(first)).json()["code"] == "reauth_required"


async def test_a_reference_and_a_bound_token_are_for_one_connection(
    app: ServiceClient, sandbox: httpx2.Client, heart: Heart
) -> None:
    """Nobody else's credential comes by them, whatever is named."""
    key = made_by(sandbox, "api_key")["api_key"]
    first = await created(app, "practice-key", {"api_key": key})
    second = await created(app, "practice-key", {"api_key": ALICE_KEY})
    await change(app, first["id"], fallback=second["id"])
    issued = await app.call("POST", f"/v1/connections/{first['id']}/references", {"audience": app.client_id})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    assert (await app.call("POST", f"/v1/connections/{first['id']}/test")).status_code == 409
    redeemed = await app.redeem(issued.json()["reference"])
    assert (redeemed.status_code, redeemed.json()["code"]) == (400, "reauth_required")
    bound = Reach(first["tenant"], None, first["id"])
    event = Event(type="token.released", tenant=first["tenant"], at=heart.clock())
    with pytest.raises(ReauthRequired):
        await heart.tokens.fetch(first["id"], reach=bound, event=event)


async def test_for_what_was_disconnected_nothing_stands_in(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """An end is an end."""
    first, _ = await pair(app, sandbox)
    assert (await app.call("DELETE", f"/v1/connections/{first}")).status_code == 200
    assert (await app.fetch(first)).json()["code"] == "reauth_required"


async def test_an_api_elsewhere_gets_no_request_that_was_meant_for_this_one(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """The account is the same, and what the path means there nobody knows."""
    first, second = await pair(app, sandbox, "practice-key-elsewhere")
    assert (await app.call("GET", f"/proxy/{first}/whoami")).status_code == 409
    assert (await app.fetch(first)).json()["connection_id"] == second


async def test_a_new_credential_leaves_the_fallback_and_the_switch_as_they_are(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """Nothing is switched on by it that somebody switched off."""
    first, second = await pair(app, sandbox)
    assert (await change(app, first, status="disabled")).json()["status"] == "disabled"
    renewed = (await change(app, first, credentials={"api_key": ALICE_KEY})).json()
    assert (renewed["status"], renewed["fallback"], renewed["generation"]) == ("disabled", second, 2)
    both = (await change(app, first, credentials={"api_key": ALICE_KEY}, status="active", fallback=None)).json()
    assert (both["status"], both["fallback"]) == ("active", None)
