"""OAuth tokens that somebody else obtained, taken over with ``POST /v1/connections``."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tests.kinds.cases import ALICE, create, created
from tests.world import FakeClock, ServiceClient


def tokens_of(sandbox: httpx2.Client) -> dict[str, str]:
    """A grant of the first account to the entry's app, made elsewhere."""
    minted: dict[str, str] = sandbox.post("/control/grants", json={"count": 1}).raise_for_status().json()[0]
    return minted


def refreshes(sandbox: httpx2.Client) -> dict[str, int]:
    """How many the provider has seen."""
    seen: dict[str, int] = sandbox.get("/counters").json()["token"]["refresh_token"]
    return seen


@pytest.mark.parametrize("scope", ["profile messages.read", ["profile", "messages.read"], "profile,messages.read"])
async def test_tokens_are_taken_over_and_refresh_like_any_other(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, scope: object
) -> None:
    """Stored as they are while the access token lives; renewed at its end, with what came back then kept."""
    sandbox.post("/control", json={"rotation": "strict"}).raise_for_status()
    tokens, ends = tokens_of(sandbox), clock() // 1000 + 3600
    connection = await created(app, "practice-strict", {**tokens, "expires_at": ends, "scope": scope})
    assert connection["account"] == ALICE
    assert (connection["credential_type"], connection["scopes"]) == ("oauth2", ["profile", "messages.read"])
    assert datetime.fromisoformat(connection["access_token_expires_at"]).timestamp() == pytest.approx(ends, abs=1)
    assert refreshes(sandbox) == {"ok": 0, "error": 0}
    fetched = (await app.fetch(connection["id"])).json()
    assert fetched["access_token"] == tokens["access_token"]
    for generation in (2, 3):
        clock.advance(seconds=3600)
        app._token = ""
        assert (await app.fetch(connection["id"])).json()["generation"] == generation
    assert refreshes(sandbox) == {"ok": 2, "error": 0}


@pytest.mark.parametrize("expires_at", ["past", "rfc3339", "none, and no access token"])
async def test_an_access_token_that_is_over_is_renewed_first(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, expires_at: str
) -> None:
    """The provider is asked once, and the pair that it answers is what is stored."""
    sandbox.post("/control", json={"rotation": "strict"}).raise_for_status()
    tokens = tokens_of(sandbox)
    credentials: dict[str, Any] = {**tokens, "expires_at": clock() // 1000 - 5}
    if expires_at == "rfc3339":
        credentials["expires_at"] = datetime.fromtimestamp(clock() // 1000 - 5, UTC).isoformat()
    if expires_at.startswith("none"):
        credentials = {"refresh_token": tokens["refresh_token"]}
    connection = await created(app, "practice-strict", credentials)
    assert refreshes(sandbox) == {"ok": 1, "error": 0}
    fetched = (await app.fetch(connection["id"])).json()
    assert fetched["access_token"] != tokens["access_token"]
    assert sandbox.get("/whoami", headers={"Authorization": f"Bearer {fetched['access_token']}"}).status_code == 200
    clock.advance(seconds=3600)
    app._token = ""
    assert (await app.fetch(connection["id"])).json()["generation"] == 2
    assert refreshes(sandbox) == {"ok": 2, "error": 0}


async def test_a_refresh_token_that_stays_the_same_is_kept(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Where the provider answers no new one, the one that was handed in goes on working (RFC 6749 §6)."""
    connection = await created(app, "practice-graceful", {"refresh_token": tokens_of(sandbox)["refresh_token"]})
    clock.advance(seconds=3600)
    app._token = ""
    assert (await app.fetch(connection["id"])).json()["generation"] == 2
    assert refreshes(sandbox) == {"ok": 2, "error": 0}


@pytest.mark.parametrize("fault", ["status_500", "invalid_client", "html"])
async def test_a_pair_that_was_obtained_is_kept_whatever_follows(
    app: ServiceClient, sandbox: httpx2.Client, fault: str
) -> None:
    """What was handed in is used up by then: to refuse it would lose the grant. The account is unknown for now."""
    sandbox.post("/control", json={"rotation": "revoke_on_reuse", "api_fault": fault}).raise_for_status()
    tokens = tokens_of(sandbox)
    connection = await created(app, "practice", {"refresh_token": tokens["refresh_token"]})
    assert connection["account"] is None
    sandbox.post("/control", json={"api_fault": "none"}).raise_for_status()
    tested = await app.call("POST", f"/v1/connections/{connection['id']}/test")
    assert (tested.status_code, tested.json()["account"]) == (200, ALICE)


async def test_a_refresh_token_that_is_refused_is_not_stored(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """422 at the live test, without the token."""  # K1
    wrong = "prt_somebody-elses-refresh-token"
    refused = await create(app, "practice", {"refresh_token": wrong})
    assert (refused.status_code, refused.json()["step"], refused.json()["provider_status"]) == (422, "live_test", 400)
    assert wrong not in refused.text
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


async def test_an_access_token_that_is_refused_is_not_stored(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Though it comes with a refresh token: that one is kept for its owner, and not used."""
    tokens = tokens_of(sandbox)
    sandbox.post("/control", json={"expire_access_tokens": True}).raise_for_status()
    refused = await create(app, "practice", tokens)
    assert (refused.status_code, refused.json()["step"], refused.json()["provider_status"]) == (422, "live_test", 401)
    assert refreshes(sandbox) == {"ok": 0, "error": 0}


async def test_an_access_token_that_is_over_and_alone_is_not_stored(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Nothing could be done with it."""
    access_token = tokens_of(sandbox)["access_token"]
    refused = await create(app, "practice", {"access_token": access_token, "expires_at": clock() // 1000 - 5})
    assert (refused.status_code, refused.json()["step"]) == (422, "live_test")


async def test_unasked_they_are_stored_and_renewed_by_whoever_fetches_first(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """``validate: false`` asks nobody, not even for what only a refresh could give."""
    tokens = tokens_of(sandbox)
    connection = await created(app, "practice", {"refresh_token": tokens["refresh_token"]}, validate=False)
    assert refreshes(sandbox) == {"ok": 0, "error": 0}
    fetched = (await app.fetch(connection["id"])).json()
    assert fetched["access_token"].startswith("pat_")
    assert refreshes(sandbox) == {"ok": 1, "error": 0}


@pytest.mark.parametrize("expires_at", [9_000_000_000_000_000, "9999-12-31T23:59:59Z"])
async def test_an_end_beyond_all_reason_is_ten_years_from_now(
    app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock, expires_at: object
) -> None:
    """As in answers of providers; what is stored can be shown."""
    connection = await created(app, "practice", {**tokens_of(sandbox), "expires_at": expires_at})
    ends = datetime.fromisoformat(connection["access_token_expires_at"]).timestamp()
    assert ends == pytest.approx(clock() / 1000 + 10 * 365 * 86_400, abs=1)


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        ({"access_token": "pat_x", "expires_at": "tomorrow"}, "expires_at"),
        ({"access_token": "pat_x", "expires_at": "1e400"}, "expires_at"),
        ({"access_token": "pat_x", "expires_at": "9" * 400}, "expires_at"),
        ({"access_token": "pat_x", "expires_at": True}, "expires_at"),
        ({"access_token": "pat_x", "expires_at": [1]}, "expires_at"),
        ({"access_token": "pat_ü"}, "access_token"),
        ({"access_token": "pat_x\r\nX-Other: 1"}, "access_token"),
        ({"access_token": "pat_x", "scope": [1]}, "scope"),
        ({"access_token": "pat_x", "scope": {"a": 1}}, "scope"),
        ({"scope": "profile"}, "access_token"),
    ],
)
async def test_what_is_malformed_is_named_and_nobody_is_asked(
    app: ServiceClient, sandbox: httpx2.Client, credentials: dict[str, Any], field: str
) -> None:
    """422 at the format, unasked or not."""
    for validate in (True, False):
        refused = await create(app, "practice", credentials, validate=validate)
        assert refused.status_code == 422, refused.text
        assert (refused.json()["step"], refused.json()["errors"][0]["field"]) == ("format", f"credentials.{field}")
    assert sandbox.get("/counters").json()["whoami"] == 0
