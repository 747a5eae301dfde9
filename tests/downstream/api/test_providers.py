"""Providers as services see them: what can be connected, and what is missing where something can't."""

import httpx2

from tests.journey import MakeClient
from tests.world import PUBLIC_URL, ServiceClient


async def test_the_list_says_what_can_be_connected(app: ServiceClient, http: httpx2.AsyncClient) -> None:
    """Scopes with their meaning, the redirect URI to register, and no setting of the operator's."""  # K1
    answer = await app.call("GET", "/v1/providers")
    listed = {item["name"]: item for item in answer.json()["items"]}
    assert list(listed) == sorted(listed)
    practice = listed["practice"]
    assert practice["scopes"] == {"profile": "See your name", "messages.read": "Read your messages"}
    assert practice["redirect_uri"] == f"{PUBLIC_URL}/callback/practice"
    assert (practice["ready"], practice["missing"]) == (True, [])
    assert "practice-secret" not in answer.text
    assert "client_id" not in practice


async def test_a_provider_that_is_not_configured_says_what_is_missing(app: ServiceClient) -> None:
    """By the names of the variables, so that an operator can mend it."""
    answer = (await app.call("GET", "/v1/providers/unconfigured")).json()
    assert answer["ready"] is False
    assert answer["missing"] == ["environment variable NOT_SET_ANYWHERE"]


async def test_a_client_sees_the_providers_it_was_given(make_client: MakeClient) -> None:
    """The others do not exist for it."""  # S5
    narrow = await make_client("narrow", providers=("practice-two",), scopes=("proxy",))
    assert [item["name"] for item in (await narrow.call("GET", "/v1/providers")).json()["items"]] == ["practice-two"]
    assert (await narrow.call("GET", "/v1/providers/practice-two")).status_code == 200
    assert (await narrow.call("GET", "/v1/providers/practice")).status_code == 404


async def test_what_a_request_says_of_its_host_changes_no_address(app: ServiceClient) -> None:
    """Redirect URIs come from the settings only."""  # B11
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    answer = await app.call("GET", "/v1/providers/practice", headers=headers)
    assert answer.json()["redirect_uri"] == f"{PUBLIC_URL}/callback/practice"
