"""Any kind of credential is used alike: what goes onto a request is asked for, or the request is sent through."""

from typing import Any

import httpx2
import pytest

from tests.kinds.cases import ALICE_KEY, CASES, Case, created, made_by
from tests.world import ServiceClient

by_case = pytest.mark.parametrize("case", CASES, ids=str)


def base_of(sandbox: httpx2.Client, provider: str) -> str:
    """The address of the provider's API, as tests/providers.yaml has it."""
    place = {
        "practice-key": "header",
        "practice-key-query": "query",
        "practice-key-prefix": "prefix",
        "practice-bearer": "bearer",
        "practice-basic": "basic",
        "practice-custom": "signed",
        "practice-aws": "aws",
        "practice-none": "none",
    }[provider]
    return f"{str(sandbox.base_url).rstrip('/')}/keys/{place}"


async def authorize(app: ServiceClient, connection: dict[str, Any], **asked: Any) -> httpx2.Response:
    """What is to be put on a request."""
    return await app.call("POST", f"/v1/connections/{connection['id']}/authorization", asked)


@by_case
async def test_a_request_with_what_was_answered_on_it_is_the_connections(
    app: ServiceClient, sandbox: httpx2.Client, case: Case
) -> None:
    """The caller needs to know no kind: headers and query go on, as they are."""
    connection = await created(app, case.provider, case.good)
    url = f"{base_of(sandbox, case.provider)}/whoami"
    assert sandbox.get(url).status_code == 401
    answer = await authorize(app, connection, method="GET", url=url)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["connection_id"], told["generation"]) == (connection["id"], 1)
    assert sandbox.get(url, headers=told["headers"], params=told["query"]).json()["email"] == "alice@practice.example"


@by_case
async def test_the_proxy_makes_a_request_the_connections(app: ServiceClient, case: Case) -> None:
    """With nothing on it but the broker token."""
    connection = await created(app, case.provider, case.good)
    answer = await app.call("GET", f"/proxy/{connection['id']}/whoami")
    assert (answer.status_code, answer.json()["email"]) == (200, "alice@practice.example")
    assert answer.headers["broker-connection"] == connection["id"]


OBTAINED = ("practice", "practice-graceful", "practice-app", "practice-own-app", "practice-service-account")


def handed_in(sandbox: httpx2.Client, provider: str) -> dict[str, Any]:
    """What tokens are obtained with; for ``practice`` nothing, and for ``practice-graceful`` tokens from elsewhere."""
    match provider:
        case "practice":
            return {}
        case "practice-graceful":
            minted = sandbox.post("/control/grants", json={"count": 1}).raise_for_status().json()[0]
            return {"access_token": minted["access_token"], "refresh_token": minted["refresh_token"]}
        case "practice-app":
            return {"installation_id": "1001"}
        case _:
            return made_by(sandbox, "github_app" if provider == "practice-own-app" else "google_service_account")


@pytest.mark.parametrize("provider", OBTAINED)
async def test_whatever_tokens_were_obtained_with_is_used_alike(
    app: ServiceClient, sandbox: httpx2.Client, provider: str
) -> None:
    """Token, authorization and proxy; then another credential takes its place, and it ends like any other."""
    credentials = handed_in(sandbox, provider)
    connection = await created(app, provider, credentials)
    path = f"/v1/connections/{connection['id']}"
    url = f"{str(sandbox.base_url).rstrip('/')}/api/messages"
    token = (await app.fetch(connection["id"])).json()["access_token"]
    told = (await authorize(app, connection, method="GET", url=url)).json()
    assert told["headers"] == {"authorization": f"Bearer {token}"}
    assert sandbox.get(url, headers=told["headers"]).status_code == 200
    assert (await app.call("GET", f"/proxy/{connection['id']}/messages")).status_code == 200
    assert (await app.call("POST", f"{path}/test")).status_code == 200
    renewed = await app.call("PATCH", path, {"credentials": credentials or {}})
    assert (renewed.status_code, renewed.json()["generation"]) == (200, 2), renewed.text
    assert (await app.call("GET", f"/proxy/{connection['id']}/messages")).status_code == 200
    assert (await app.call("DELETE", path)).status_code == 200
    assert (await app.call("GET", f"/proxy/{connection['id']}/messages")).json()["code"] == "reauth_required"


async def test_a_token_that_the_api_refuses_is_renewed_and_the_request_sent_again(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """The caller sees only what came in the end."""
    connection = await created(app, "practice-app", {"installation_id": "1001"})
    sandbox.post("/control", json={"expire_access_tokens": True}).raise_for_status()
    answer = await app.call("GET", f"/proxy/{connection['id']}/messages")
    assert answer.status_code == 200
    assert (await app.call("GET", f"/v1/connections/{connection['id']}")).json()["generation"] == 2


async def test_an_open_api_is_called_without_anything(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """It is a connection like any other: it can be switched off, and what it was used for is on record."""
    connection = await created(app, "practice-none", {})
    answer = await authorize(app, connection, method="GET", url=f"{base_of(sandbox, 'practice-none')}/whoami")
    assert (answer.json()["headers"], answer.json()["query"]) == ({}, {})
    assert (await app.call("GET", f"/proxy/{connection['id']}/whoami")).status_code == 200


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://elsewhere.example/keys/header/whoami", 403),
        ("http://127.0.0.1:1/keys/header/whoami", 403),
        ("https://{host}/keys/header/whoami", 403),
        ("http://{host}.elsewhere.example/", 400),
        ("http://{host}@elsewhere.example/", 400),
        ("http://elsewhere.example\\@{host}/", 400),
        ("http://user:secret@{host}/keys/header/whoami", 400),
        ("http://{host}/keys/header/whoami#x", 400),
        ("http://{host}/keys/header/whoami#", 400),
        ("http://@{host}/keys/header/whoami", 400),
        ("http://{host}/keys/header/../../control", 400),
        ("http://{host}/keys/header/%2e%2e/%2e%2e/control", 400),
        ("http://{host}/keys/header/a b", 400),
        ("ftp://{host}/keys/header/whoami", 400),
        ("/keys/header/whoami", 400),
    ],
)
async def test_nothing_is_put_on_a_request_to_elsewhere(
    app: ServiceClient, sandbox: httpx2.Client, url: str, status: int
) -> None:
    """Host, scheme and port are those of the provider's API, to the letter; and nothing is written down."""  # G4
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    host = f"{sandbox.base_url.host}:{sandbox.base_url.port}"
    answer = await authorize(app, connection, method="GET", url=url.replace("{host}", host))
    assert answer.status_code == status, answer.text
    assert ALICE_KEY not in answer.text
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    assert [event["type"] for event in events] == ["connection.created"]


async def test_what_never_leaves_leaves_by_the_proxy_alone(app: ServiceClient) -> None:
    """``release: proxy_only``: neither as a token, nor by a reference, nor on a request of the caller's own."""
    connection = await created(app, "practice-key-sealed", {"api_key": ALICE_KEY})
    url = "http://127.0.0.1/whoami"
    assert (await app.fetch(connection["id"])).status_code == 403
    assert (await authorize(app, connection, method="GET", url=url)).status_code == 403
    assert (await app.call("GET", f"/proxy/{connection['id']}/whoami")).status_code == 200


async def test_what_a_request_was_for_is_on_record(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Method, host and path, before anything left; not the query, which nobody else should read."""  # K1
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    url = f"{base_of(sandbox, 'practice-key')}/whoami"
    await authorize(app, connection, method="get", url=f"{url}?a=planted-in-the-query")
    await app.call("GET", f"/proxy/{connection['id']}/whoami?a=planted-in-the-query")
    record = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).text
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    by_type = {event["type"]: event["data"] for event in events}
    assert by_type["authorization.released"]["method"] == "GET"
    assert by_type["proxy.requested"]["path"] == "/keys/header/whoami"
    assert "planted" not in record
    assert ALICE_KEY not in record
