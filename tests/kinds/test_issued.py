"""Credentials for which the provider issues access tokens, again and again: apps and service accounts."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests.kinds.cases import ALICE, create, created, made_by
from tests.world import FakeClock, ServiceClient

KINDS = ("practice-app", "practice-own-app", "practice-service-account")
_REVOKED = {"practice-app": "1001", "practice-own-app": "practice-app"}

by_kind = pytest.mark.parametrize("provider", KINDS)


def good(sandbox: httpx2.Client, provider: str) -> dict[str, Any]:
    """What opens ``provider``."""
    if provider == "practice-app":
        return {"installation_id": "1001"}
    return made_by(sandbox, "github_app" if provider == "practice-own-app" else "google_service_account")


def asked(sandbox: httpx2.Client, provider: str) -> int:
    """How many tokens were issued."""
    counters = sandbox.get("/counters").json()
    if provider == "practice-service-account":
        return int(counters["token"]["urn:ietf:params:oauth:grant-type:jwt-bearer"]["ok"])
    return int(counters["installation_tokens"])


def an_hour_passes(app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock) -> None:
    """At the broker and at the provider; the app's own token is over then, too."""
    clock.advance(seconds=3600)
    sandbox.post("/control", json={"clock_ahead": 3600}).raise_for_status()
    app._token = ""


def name_of(provider: str, credentials: Mapping[str, Any]) -> str:
    """Under which name the practice provider can revoke it."""
    return _REVOKED.get(provider) or str(credentials["client_email"])


@by_kind
async def test_a_token_is_issued_and_opens_the_api(app: ServiceClient, sandbox: httpx2.Client, provider: str) -> None:
    """Made, fetched and used; the token is kept until it is about to end."""  # K1
    credentials = good(sandbox, provider)
    connection = await created(app, provider, credentials)
    fetched = (await app.fetch(connection["id"])).json()
    headers = {"Authorization": f"Bearer {fetched['access_token']}"}
    whoami = sandbox.get("/whoami", headers=headers).json()
    assert whoami["sub"] == (credentials["client_email"] if provider == KINDS[2] else ALICE["id"])
    assert (await app.fetch(connection["id"])).json()["access_token"] == fetched["access_token"]
    assert asked(sandbox, provider) == 1
    assert 0 < fetched["expires_in"] <= 3600
    assert "PRIVATE KEY" not in str(connection) + str(fetched)


@by_kind
async def test_many_callers_at_its_end_cause_one_more(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, provider: str
) -> None:
    """An hour later fifty fetches come at once: the provider is asked once, all get the same new token."""
    connection = await created(app, provider, good(sandbox, provider))
    before = (await app.fetch(connection["id"])).json()
    an_hour_passes(app, sandbox, clock)
    answers = await asyncio.gather(*(app.fetch(connection["id"]) for _ in range(50)))
    tokens = {answer.json()["access_token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {before["access_token"]}
    assert asked(sandbox, provider) == 2
    assert {answer.json()["generation"] for answer in answers} == {2}


@by_kind
async def test_more_life_than_is_left_renews_it(app: ServiceClient, sandbox: httpx2.Client, provider: str) -> None:
    """``min_ttl`` is honoured as with any token."""
    sandbox.post("/control", json={"access_token_ttl": 100}).raise_for_status()
    connection = await created(app, provider, good(sandbox, provider))
    sandbox.post("/control", json={"access_token_ttl": 3600}).raise_for_status()
    assert (await app.fetch(connection["id"], min_ttl=600)).json()["generation"] == 2
    assert (await app.fetch(connection["id"], min_ttl=600)).json()["generation"] == 2
    assert asked(sandbox, provider) == 2


@by_kind
async def test_a_token_that_died_early_is_renewed_once_it_is_reported(
    app: ServiceClient, sandbox: httpx2.Client, provider: str
) -> None:
    """``stale_generation`` has another issued."""
    connection = await created(app, provider, good(sandbox, provider))
    sandbox.post("/control", json={"expire_access_tokens": True}).raise_for_status()
    renewed = (await app.fetch(connection["id"], stale_generation=1)).json()
    assert renewed["generation"] == 2
    whoami = sandbox.get("/whoami", headers={"Authorization": f"Bearer {renewed['access_token']}"})
    assert whoami.status_code == 200


@by_kind
async def test_it_is_renewed_ahead_of_its_end_without_anybody_asking(
    app: ServiceClient, sandbox: httpx2.Client, provider: str
) -> None:
    """It is among the due work, though it has no refresh token; what is handed in once needs no renewing."""
    connection = await created(app, provider, good(sandbox, provider))
    due, ends = connection["health"]["next_refresh_at"], connection["access_token_expires_at"]
    assert connection["created_at"] < due < ends
    assert connection["refresh_token_expires_at"] is None
    key = await created(app, "practice-key", {"api_key": "pk_practice_alice_0001"})
    assert key["health"]["next_refresh_at"] is None


@by_kind
@pytest.mark.parametrize("fault", ["status_500", "busy", "cut", "html"])
async def test_a_provider_that_fails_ends_nothing(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, provider: str, fault: str
) -> None:
    """While its token lives nobody notices; then callers are told to come again, until the provider is back."""
    connection = await created(app, provider, good(sandbox, provider))
    sandbox.post("/control", json={"token_fault": fault}).raise_for_status()
    living = await app.fetch(connection["id"], min_ttl=7200)
    assert (living.status_code, living.json()["generation"]) == (200, 1)
    an_hour_passes(app, sandbox, clock)
    assert (await app.fetch(connection["id"])).status_code == 503
    sandbox.post("/control", json={"token_fault": "none"}).raise_for_status()
    clock.advance(seconds=900)
    sandbox.post("/control", json={"clock_ahead": 4500}).raise_for_status()
    app._token = ""
    assert (await app.fetch(connection["id"])).json()["generation"] == 2


@by_kind
async def test_what_is_revoked_at_the_provider_ends_the_connection(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, provider: str
) -> None:
    """The installation is gone, the key is no longer accepted: only a new credential helps, and the answer says so."""
    credentials = good(sandbox, provider)
    connection = await created(app, provider, credentials)
    sandbox.post("/control", json={"revoked_keys": [name_of(provider, credentials)]}).raise_for_status()
    an_hour_passes(app, sandbox, clock)
    refused = await app.fetch(connection["id"])
    assert (refused.status_code, refused.json()["code"]) == (409, "reauth_required")
    shown = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert (shown["status"], shown["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")


@by_kind
async def test_what_the_provider_refuses_is_not_stored(
    app: ServiceClient, sandbox: httpx2.Client, provider: str
) -> None:
    """422 that names the step and the provider's status; no private key in it."""  # K1
    credentials = good(sandbox, provider)
    sandbox.post("/control", json={"revoked_keys": [name_of(provider, credentials)]}).raise_for_status()
    refused = await create(app, provider, credentials)
    assert refused.status_code == 422, refused.text
    told = refused.json()
    expected = {"practice-app": 404, "practice-own-app": 401, "practice-service-account": 400}[provider]
    assert (told["step"], told["provider_status"]) == ("live_test", expected)
    assert "PRIVATE KEY" not in refused.text
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


async def test_an_app_whose_own_key_is_refused_ends_nothing(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """The entry's key is the operator's to mend: connections stay, and work again afterwards."""
    connection = await created(app, "practice-app", {"installation_id": "1001"})
    sandbox.post("/control", json={"revoked_keys": ["practice-app"]}).raise_for_status()
    an_hour_passes(app, sandbox, clock)
    assert (await app.fetch(connection["id"])).status_code == 502
    sandbox.post("/control", json={"revoked_keys": None}).raise_for_status()
    assert (await app.fetch(connection["id"])).status_code == 200


async def test_no_person_is_asked_which_installation_of_the_entrys_app_is_theirs(app: ServiceClient) -> None:
    """Its key opens all of them: somebody else's number would do. A service says it, or the connection has its own."""
    body = {"provider": "practice-app", "subject": "ann"}
    assert (await app.call("POST", "/v1/connect-sessions", body)).status_code == 409
    assert (await app.call("POST", "/v1/connect-sessions", {**body, "provider": "practice-own-app"})).status_code == 201


async def test_permissions_become_scopes(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """What the token may do is shown, and can be narrowed."""
    whole = await created(app, "practice-app", {"installation_id": "1001"})
    assert whole["scopes"] == ["profile:read", "messages:write"]
    narrow = await created(app, "practice-app", {"installation_id": "1001"}, scopes=["profile:read", "messages:read"])
    assert narrow["scopes"] == ["profile:read", "messages:read"]
    token = (await app.fetch(narrow["id"])).json()["access_token"]
    sent = sandbox.post("/api/messages", json={"text": "Ahoy"}, headers={"Authorization": f"Bearer {token}"})
    assert sent.status_code == 403
    refused = await create(app, "practice-app", {"installation_id": "1001"}, scopes=["messages:admin"])
    assert (refused.status_code, refused.json()["provider_status"]) == (422, 422)


@pytest.mark.parametrize("installation", ["../1001", "1001/x", "", "one", "1001?x=1", 10**30])
async def test_an_installation_that_is_no_number_is_refused_unasked(
    app: ServiceClient, sandbox: httpx2.Client, installation: object
) -> None:
    """It becomes a part of a path; not even ``validate: false`` lets it in."""
    for validate in (True, False):
        refused = await create(app, "practice-app", {"installation_id": installation}, validate=validate)
        assert (refused.status_code, refused.json()["step"]) == (422, "format")
    assert asked(sandbox, "practice-app") == 0


@pytest.mark.parametrize("form", ["members", "text", "object"])
async def test_a_key_file_is_handed_in_as_it_was_downloaded(
    app: ServiceClient, sandbox: httpx2.Client, form: str
) -> None:
    """Member by member, or whole; the token endpoint that it names is never asked."""
    file = {**made_by(sandbox, "google_service_account"), "token_uri": "https://collect.attacker.example/token"}
    whole = {"members": file, "text": {"key_file": json.dumps(file)}, "object": {"key_file": file}}[form]
    connection = await created(app, "practice-service-account", whole)
    assert connection["account"]["id"] == file["client_email"]


async def test_a_service_account_acts_for_a_user(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """With a delegated subject the token is that user's."""
    file = made_by(sandbox, "google_service_account")
    connection = await created(
        app, "practice-service-account", {"key_file": json.dumps(file), "subject": "bob@practice.example"}
    )
    assert connection["account"]["id"] == "usr_1002"
    refused = await create(app, "practice-service-account", {**file, "subject": "eve@practice.example"})
    assert (refused.json()["step"], refused.json()["provider_status"]) == ("live_test", 400)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n"}, "credentials.private_key"),
        ({"type": "authorized_user"}, "credentials"),
        ({"client_email": None}, "credentials.client_email"),
    ],
)
async def test_a_key_file_that_is_none_is_refused_unasked(
    app: ServiceClient, sandbox: httpx2.Client, change: dict[str, Any], field: str
) -> None:
    """422 at the format, naming the field; not even ``validate: false`` lets it in."""
    file = {**made_by(sandbox, "google_service_account"), **change}
    for validate in (True, False):
        refused = await create(app, "practice-service-account", file, validate=validate)
        assert refused.status_code == 422, refused.text
        assert (refused.json()["step"], refused.json()["errors"][0]["field"]) == ("format", field)
    assert asked(sandbox, "practice-service-account") == 0
