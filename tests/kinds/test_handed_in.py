"""Credentials that are used as they were handed in: keys, passwords, signing secrets."""

import httpx2
import pytest

from tests.kinds.cases import ALICE, ALICE_KEY, BOB_KEY, CASES, Case, create, created, made_by
from tests.world import ServiceClient

by_case = pytest.mark.parametrize("case", CASES, ids=str)


@by_case
async def test_it_is_made_tested_fetched_and_ended(app: ServiceClient, case: Case) -> None:
    """The whole life without a browser; whose account it is was asked before anything was stored."""  # K1
    connection = await created(app, case.provider, case.good)
    path = f"/v1/connections/{connection['id']}"
    assert connection["account"] == ALICE
    assert (connection["status"], connection["generation"]) == ("active", 1)
    tested = await app.call("POST", f"{path}/test")
    assert (tested.status_code, tested.json()["account"]) == (200, ALICE)
    fetched = await app.fetch(connection["id"])
    if case.token is None:
        assert (fetched.status_code, fetched.json()["code"]) == (409, "conflict")
    else:
        assert fetched.json()["access_token"] == case.good[case.token]
        assert "expires_in" not in fetched.json()
    ended = await app.call("DELETE", path)
    assert ended.status_code == 200
    assert (await app.call("POST", f"{path}/test")).json()["code"] == "reauth_required"
    shown = (await app.call("GET", path)).text
    assert not [canary for canary in case.canaries if canary in (str(connection) + tested.text + ended.text + shown)]


@by_case
async def test_what_the_provider_refuses_is_not_stored(app: ServiceClient, case: Case) -> None:
    """422 that names the step and the provider's status, and not the credential."""  # K1
    refused = await create(app, case.provider, case.wrong)
    assert refused.status_code == 422, refused.text
    told = refused.json()
    assert (told["code"], told["step"], told["provider_status"]) == ("invalid_credentials", "live_test", 401)
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    assert not [canary for canary in case.canaries if canary in refused.text]


@by_case
async def test_what_does_not_look_like_it_is_refused_unasked(
    app: ServiceClient, sandbox: httpx2.Client, case: Case
) -> None:
    """422 that names the field; the provider hears nothing of it."""
    refused = await create(app, case.provider, case.malformed)
    assert refused.status_code == 422, refused.text
    assert (refused.json()["step"], refused.json()["errors"][0]["field"]) == ("format", case.fault)
    assert sandbox.get("/counters").json()["whoami"] == 0
    assert not [value for value in case.malformed.values() if len(value) > 20 and value in refused.text]


@by_case
async def test_unasked_it_is_stored_though_the_provider_would_refuse_it(
    app: ServiceClient, sandbox: httpx2.Client, case: Case
) -> None:
    """With ``validate: false`` nobody is asked; the first test tells."""
    connection = await created(app, case.provider, case.wrong, validate=False)
    assert connection["account"] is None
    assert sandbox.get("/counters").json()["whoami"] == 0
    tested = await app.call("POST", f"/v1/connections/{connection['id']}/test")
    assert tested.status_code in {409, 502}, tested.text


@pytest.mark.parametrize(
    "username", ["alice@practice.example", "PRACTICE\\alice@practice.example"], ids=["plain", "with a domain"]
)
async def test_an_email_address_and_a_token_are_a_user_and_a_password(app: ServiceClient, username: str) -> None:
    """As several services want it; a domain may stand before the user."""
    domain, _, user = username.rpartition("\\")
    credentials = {"username": user, "password": "pk_practice_alice_0001", **({"domain": domain} if domain else {})}
    assert (await created(app, "practice-basic", credentials))["account"] == ALICE


async def test_what_no_request_can_be_signed_with_is_malformed(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """It passes the entry's pattern, and no header can hold it: 422, and nothing is sent."""
    refused = await create(app, "practice-custom", {"key_id": "sk_älice", "secret": "practice-signing-secret-alice"})
    assert (refused.status_code, refused.json()["step"]) == (422, "format")
    assert "x-key-id" in refused.json()["detail"]
    assert sandbox.get("/counters").json()["whoami"] == 0


async def test_whose_an_access_key_is_another_service_may_say(app: ServiceClient) -> None:
    """Its signature is made for that service: for the API's own, the practice provider would refuse it."""
    credentials = next(case for case in CASES if case.provider == "practice-aws").good
    assert (await created(app, "practice-aws-elsewhere", credentials))["account"] == ALICE


async def test_a_temporary_access_key_is_sent_with_its_session_token(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """Without it the key opens nothing."""
    key = made_by(sandbox, "aws_sigv4")
    assert (await created(app, "practice-aws", key))["account"] == ALICE
    refused = await create(app, "practice-aws", {**key, "session_token": None})
    assert (refused.status_code, refused.json()["provider_status"]) == (422, 401)


async def test_a_connection_without_a_credential_has_no_token_and_no_account(app: ServiceClient) -> None:
    """For public APIs: nothing is handed in, nothing is handed out."""
    connection = await created(app, "practice-none", {})
    assert (connection["credential_type"], connection["account"]) == ("none", None)
    assert (await app.fetch(connection["id"])).status_code == 409
    assert (await create(app, "practice-none", {"api_key": "pk_practice_alice_0001"})).json()["step"] == "format"


async def test_what_the_provider_has_against_it_is_told(app: ServiceClient) -> None:
    """In its own words: somebody who describes a scheme has nothing else to go by."""
    wrong = {"key_id": "sk_alice", "secret": "practice-signing-secret-bob"}
    refused = await create(app, "practice-custom", wrong)
    assert "signature" in refused.json()["detail"]


async def test_a_user_name_has_no_colon(app: ServiceClient) -> None:
    """It would be read as where the password begins (RFC 7617 §2)."""
    refused = await create(app, "practice-basic", {"username": "alice:x", "password": "practice-password-alice"})
    assert (refused.json()["step"], refused.json()["errors"][0]["field"]) == ("format", "credentials.username")


async def test_scopes_that_an_app_is_not_granted_are_a_matter_of_permissions(app: ServiceClient) -> None:
    """The caller asked for them, so the caller can mend it; trying again would not."""
    refused = await create(app, "practice", {}, scopes=["profile", "nobody.has.this"])
    assert (refused.status_code, refused.json()["step"]) == (422, "permissions")
    assert refused.json()["missing"] == ["profile", "nobody.has.this"]


async def test_every_field_that_can_be_handed_in_is_shown(app: ServiceClient) -> None:
    """A program needs to know no kind."""
    shown = (await app.call("GET", "/v1/providers/practice-service-account")).json()["credential_fields"]
    assert list(shown) == ["client_email", "private_key", "private_key_id", "subject", "key_file"]
    assert (shown["key_file"]["optional"], shown["private_key"]["format"]) == (True, "private_key")


async def test_a_member_that_nobody_knows_is_not_repeated(app: ServiceClient) -> None:
    """It may be the secret itself, in the place of its name; what there is to hand in is told."""  # K1
    refused = await create(app, "practice-key", {"api_key": ALICE_KEY, BOB_KEY: ""})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "credentials")
    assert "api_key" in refused.json()["errors"][0]["message"]
    assert BOB_KEY not in refused.text
