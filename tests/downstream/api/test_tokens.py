"""The token route: what it answers, when it refreshes first, and when it answers none."""

from typing import Any

import httpx2
import pytest

from tests.downstream.answers import code_of
from tests.world import FakeClock, Person, ServiceClient


def asked(sandbox: httpx2.Client) -> dict[str, Any]:
    """What the provider's token endpoint was asked so far."""
    counted: dict[str, Any] = sandbox.get("/counters").json()["token"]
    return counted


async def test_the_access_token_is_answered_and_cached_by_nobody(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """Exactly the documented members; the token works at the provider, which is not asked for another."""
    answer = await app.fetch(connection["id"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    called = sandbox.get("/api/messages", headers={"Authorization": f"Bearer {body.pop('access_token')}"})
    assert called.status_code == 200
    assert body == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "profile messages.read",
        "connection_id": connection["id"],
        "generation": 1,
    }
    assert asked(sandbox)["client_credentials"] == {"ok": 1, "error": 0}


async def test_an_empty_body_is_an_empty_wish(app: ServiceClient, connection: dict[str, Any]) -> None:
    """A POST without body and type is fine."""
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/token")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("age", "min_ttl", "refreshed"), [(3599, 0, False), (3600, 0, True), (100, 3499, False), (100, 3500, True)]
)
async def test_a_token_is_fresh_while_it_outlives_min_ttl(
    app: ServiceClient,
    connection: dict[str, Any],
    clock: FakeClock,
    sandbox: httpx2.Client,
    age: int,
    min_ttl: int,
    refreshed: bool,
) -> None:
    """To the second, and nothing is added."""
    clock.advance(seconds=age)
    app = ServiceClient(app.http, app.client_id, app.secret)
    answer = (await app.fetch(connection["id"], min_ttl=min_ttl)).json()
    assert answer["generation"] == (2 if refreshed else 1)
    assert answer["expires_in"] == (3600 if refreshed else 3600 - age)
    assert asked(sandbox)["client_credentials"]["ok"] == answer["generation"]


async def test_a_token_just_refreshed_is_served_even_if_it_lives_shorter(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """Asking for more than the provider gives costs one refresh per fetch, not an endless loop."""
    answer = (await app.fetch(connection["id"], min_ttl=86_400)).json()
    assert (answer["generation"], answer["expires_in"]) == (2, 3600)
    assert asked(sandbox)["client_credentials"] == {"ok": 2, "error": 0}


async def test_a_generation_that_the_provider_refused_is_replaced_once(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """While it is the current one; who comes later with the same number gets what is there."""
    first = (await app.fetch(connection["id"])).json()
    second = (await app.fetch(connection["id"], stale_generation=1)).json()
    third = (await app.fetch(connection["id"], stale_generation=1)).json()
    assert (second["generation"], third["generation"]) == (2, 2)
    assert first["access_token"] != second["access_token"] == third["access_token"]
    assert (await app.fetch(connection["id"], stale_generation=9)).json()["generation"] == 2
    assert asked(sandbox)["client_credentials"] == {"ok": 2, "error": 0}


@pytest.mark.parametrize(
    "wish",
    [{"min_ttl": -1}, {"min_ttl": 86_401}, {"min_ttl": "x"}, {"min_ttl": 1.5}, {"stale_generation": 0}, {"scope": "x"}],
)
async def test_a_wish_that_makes_no_sense_is_refused(
    app: ServiceClient, connection: dict[str, Any], wish: dict[str, Any]
) -> None:
    """400, naming the field; no token."""
    answer = await app.fetch(connection["id"], **wish)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == list(wish)


async def test_a_disconnected_connection_is_409(app: ServiceClient, connection: dict[str, Any]) -> None:
    """From the answer to ``DELETE`` on."""
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    answer = await app.fetch(connection["id"])
    assert (answer.status_code, code_of(answer)) == (409, "reauth_required")


async def test_a_grant_revoked_at_the_provider_is_409_after_one_try(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """The provider is asked once, says no, and is not asked again."""  # P7
    connection = await app.connect(person)
    sandbox.post("/control", json={"revoke_grants": True}).raise_for_status()
    clock.advance(seconds=3600)
    app = ServiceClient(app.http, app.client_id, app.secret)
    for _ in range(3):
        answer = await app.fetch(connection["id"])
        assert (answer.status_code, code_of(answer)) == (409, "reauth_required")
    assert asked(sandbox)["refresh_token"] == {"ok": 0, "error": 1}


async def test_credentials_that_never_leave_are_403(app: ServiceClient) -> None:
    """``release: proxy_only``; for who can reach the connection, others get 404."""
    order = {"provider": "practice-sealed", "subject": "ann", "credentials": {}}
    sealed = (await app.call("POST", "/v1/connections", order)).json()
    answer = await app.fetch(sealed["id"])
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    assert "pat_" not in answer.text
    events = await app.call("GET", f"/v1/connections/{sealed['id']}/events?type=token.released")
    assert events.json()["items"] == []
