"""Tests of :mod:`broker.connections.opening` through ``POST /v1/connect-sessions``: what can be opened and what not."""

import re
from datetime import datetime
from typing import Any

import httpx2
import pytest

from broker.clock import rfc3339
from tests.journey import MakeClient, session_of
from tests.world import PUBLIC_URL, RETURN_URL, FakeClock, Person, ServiceClient


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """The app that opens sessions."""
    return await make_client()


async def opening(app: ServiceClient, **body: Any) -> httpx2.Response:
    """Try to open a session."""
    return await app.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann", **body})


async def test_the_answer(app: ServiceClient, clock: FakeClock) -> None:
    """201 with id, link, status and the moment the link ends; the session shows the same and nothing secret."""
    answer = await opening(app, scopes=["profile"], state="s", label="mine", metadata={"team": 7})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"id", "connect_url", "status", "expires_at"}
    assert re.fullmatch(r"cs_[0-9A-Za-z]{22}", body["id"])
    assert re.fullmatch(rf"{PUBLIC_URL}/connect/ch_[0-9A-Za-z]{{22}}_[0-9A-Za-z]{{43}}", body["connect_url"])
    assert body["status"] == "pending"
    assert body["expires_at"] == rfc3339(clock.now + 1_800_000)
    assert datetime.fromisoformat(body["expires_at"]).utcoffset() is not None
    seen = await session_of(app, body["id"])
    assert (seen["status"], seen["connection_id"], seen["error"]) == ("pending", None, None)
    assert body["connect_url"].rpartition("_")[2] not in str(seen)


@pytest.mark.parametrize(
    "return_url",
    [
        "https://app.example/connected/",
        "https://app.example/connected?x=1",
        "https://app.example/connected#x",
        "https://app.example//connected",
        "https://app.example/./connected",
        "https://app.example/x/../connected",
        "https://app.example/connecte%64",
        "https://app.example/Connected",
        "https://APP.example/connected",
        "HTTPS://app.example/connected",
        "https://app.example:443/connected",
        "https://app.example:8443/connected",
        "https://app.example./connected",
        "https://app.example@evil.example/connected",
        "https://evil.example@app.example/connected",
        "https://app.example\\@evil.example/connected",
        "https://app.example\\connected",
        "https://app.example.evil.example/connected",
        "https://evil.example/connected",
        "https://app.example%2F@evil.example/connected",
        "https://app.ex\u0430mple/connected",
        "https://app.example/connected\n",
        " https://app.example/connected",
        "https:app.example/connected",
        "https:///app.example/connected",
        "//app.example/connected",
        "/connected",
        "http://app.example/connected",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
    ],
)
async def test_only_a_registered_return_url(app: ServiceClient, return_url: str) -> None:
    """The return address is compared character by character (RFC 9700 §4.1.3)."""
    # B9
    refused = await opening(app, return_url=return_url)
    assert refused.status_code == 400
    assert [fault["field"] for fault in refused.json()["errors"]] == ["return_url"]


@pytest.mark.parametrize("port", ["1024", "65535"])
async def test_a_loopback_port_is_free(make_client: MakeClient, port: str) -> None:
    """A native app's port is of the moment (RFC 8252 §7.3): registered without one, any will do."""
    app = await make_client(return_urls=("http://127.0.0.1/back", "http://[::1]/back"))
    assert (await opening(app, return_url=f"http://127.0.0.1:{port}/back")).status_code == 201
    assert (await opening(app, return_url=f"http://[::1]:{port}/back")).status_code == 201


@pytest.mark.parametrize(
    "return_url",
    [
        "http://localhost:5000/back",
        "http://127.0.0.1:/back",
        "http://127.0.0.1:0/back",
        "http://127.0.0.1:05000/back",
        "http://127.0.0.1:65536/back",
        "http://127.0.0.1:5000@evil.example/back",
        "http://127.0.0.1:5000.evil.example/back",
        "http://127.0.0.1:\u0665/back",
        "http://127.0.0.1:5000/back/",
        "http://127.0.0.1:5000/x/back",
        "https://127.0.0.1:5000/back",
        "http://127.0.0.2:5000/back",
    ],
)
async def test_only_the_port_is_free(make_client: MakeClient, return_url: str) -> None:
    """Everything else of a loopback address counts, and the port must be one."""
    # B9
    app = await make_client(return_urls=("http://127.0.0.1/back",))
    assert (await opening(app, return_url=return_url)).status_code == 400


async def test_a_fixed_port_stays(make_client: MakeClient) -> None:
    """A loopback address registered with a port, and any https address, has that port and no other."""
    # B9
    app = await make_client(return_urls=("http://127.0.0.1:5000/back", "https://127.0.0.1/back"))
    for port in ("5001", "50001"):
        assert (await opening(app, return_url=f"http://127.0.0.1:{port}/back")).status_code == 400
        assert (await opening(app, return_url=f"https://127.0.0.1:{port}/back")).status_code == 400


@pytest.mark.parametrize(
    ("registered", "body", "completion"),
    [
        ((RETURN_URL,), {}, "app"),
        ((RETURN_URL,), {"return_url": RETURN_URL}, "app"),
        ((RETURN_URL,), {"completion": "code"}, "code"),
        ((), {}, "code"),
    ],
)
async def test_the_completion_that_fits(
    make_client: MakeClient, registered: tuple[str, ...], body: dict[str, Any], completion: str
) -> None:
    """``app`` where there is an address to return to, ``code`` where there is none."""
    app = await make_client(return_urls=registered)
    opened = await opening(app, **body)
    assert (await session_of(app, opened.json()["id"]))["completion"] == completion


@pytest.mark.parametrize(
    ("registered", "body"),
    [
        ((), {"completion": "app"}),
        ((), {"return_url": RETURN_URL}),
        ((RETURN_URL, "https://app.example/other"), {}),
        ((RETURN_URL,), {"completion": "code", "return_url": RETURN_URL}),
    ],
    ids=["none registered", "not registered", "one of two", "nowhere to return to"],
)
async def test_a_return_address_that_is_not_clear(
    make_client: MakeClient, registered: tuple[str, ...], body: dict[str, Any]
) -> None:
    """Where it isn't clear where to return to, nothing is guessed."""
    refused = await opening(await make_client(return_urls=registered), **body)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "return_url"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"provider": "unknown"}, 400, "provider"),
        ({"provider": "unconfigured"}, 409, None),
        ({"subject": ""}, 400, "subject"),
        ({"scopes": ["two words"]}, 400, "scopes"),
        ({"scopes": ['quo"te']}, 400, "scopes"),
        ({"parameters": {"host": "evil.example"}}, 400, "parameters.host"),
        ({"redirect_uri": "https://evil.example"}, 400, "redirect_uri"),
        ({"tenant": "other"}, 400, "tenant"),
        ({"connection_id": "con_0000000000000000000000"}, 404, None),
        ({"connection_id": "nonsense"}, 404, None),
    ],
    ids=str,
)
async def test_what_can_not_be_opened(app: ServiceClient, body: dict[str, Any], status: int, field: str | None) -> None:
    """A clear answer names the field; nothing that the broker decides can be slipped in."""
    refused = await opening(app, **body)
    assert refused.status_code == status
    if field is not None:
        assert field in [fault["field"] for fault in refused.json()["errors"]]


async def test_a_client_opens_only_what_it_was_given(make_client: MakeClient, sandbox: httpx2.Client) -> None:
    """A client with a list of providers can't start at another."""
    app = await make_client(providers=("practice-two",))
    assert (await opening(app)).status_code == 403
    assert (await opening(app, provider="practice-two")).status_code == 201


async def test_whose_connection_can_be_renewed(
    app: ServiceClient, make_client: MakeClient, http: httpx2.AsyncClient
) -> None:
    """Only one of the same tenant, subject and provider; a foreign one does not exist, an ended one stays ended."""
    # S5 B14
    connection = await app.connect(Person(http))
    stranger = await make_client("foreign", tenant="other")
    assert (await opening(stranger, connection_id=connection["id"])).status_code == 404
    for other in ({"subject": "bob"}, {"provider": "practice-two"}):
        refused = await opening(app, connection_id=connection["id"], **other)
        assert refused.status_code == 400
        assert [fault["field"] for fault in refused.json()["errors"]] == list(other)
    assert (await opening(app, connection_id=connection["id"])).status_code == 201
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert (await opening(app, connection_id=connection["id"])).status_code == 409
