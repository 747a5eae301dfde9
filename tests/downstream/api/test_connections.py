"""Connections: made without a browser, shown without a secret, listed page by page."""

from typing import Any

import httpx2
import pytest

from tests.downstream.answers import code_of, nameless
from tests.journey import MakeClient
from tests.world import Person, ServiceClient

MEMBERS = {
    "id", "provider", "subject", "tenant", "label", "status", "credential_type", "scopes", "requested_scopes",
    "consents", "parameters", "provider_data", "account",
    "generation", "access_token_expires_at", "refresh_token_expires_at",
    "created_at", "updated_at", "last_used_at", "health", "fallback", "metadata",
}  # fmt: skip


async def several(app: ServiceClient, count: int, **body: Any) -> list[str]:
    """The ids of new connections, in the order they were made."""
    ids = []
    for _ in range(count):
        answer = await app.call(
            "POST", "/v1/connections", {"provider": "practice", "subject": "ann", "credentials": {}, **body}
        )
        ids.append(answer.raise_for_status().json()["id"])
    return ids


async def test_a_connection_is_made_with_201_and_shown_without_a_secret(
    app: ServiceClient, connection: dict[str, Any]
) -> None:
    """Every documented member and no other; none holds a credential, in making, showing and listing."""  # K1
    token = (await app.fetch(connection["id"])).json()["access_token"]
    shown = await app.call("GET", f"/v1/connections/{connection['id']}")
    listed = await app.call("GET", "/v1/connections")
    assert shown.json().keys() == connection.keys() == MEMBERS
    assert listed.json()["items"][0] == shown.json()
    assert shown.json()["created_at"].endswith("Z")
    assert shown.json()["last_used_at"] is not None
    for text in (str(connection), shown.text, listed.text):
        assert token not in text
        assert "pat_" not in text
        assert "prt_" not in text


async def test_making_one_answers_201_with_what_was_given(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Label, metadata and scopes as given; the provider was asked once."""
    order = {
        "provider": "practice", "subject": "svc", "credentials": {}, "scopes": ["profile"], "label": "Reports",
        "metadata": {"team": "north", "seats": 3, "paid": True, "note": None},
    }  # fmt: skip
    answer = await app.call("POST", "/v1/connections", order)
    assert answer.status_code == 201
    body = answer.json()
    assert {name: body[name] for name in ("subject", "label", "metadata", "scopes")} == {
        name: order[name] for name in ("subject", "label", "metadata", "scopes")
    }
    assert (body["credential_type"], body["status"], body["generation"]) == ("client_credentials", "active", 1)
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 1, "error": 0}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"provider": "nowhere"}, 400),
        ({"credentials": {"client_secret": "planted-credential"}}, 422),
        ({"credentials": "planted-credential"}, 400),
        ({"parameters": {"unknown": "x"}}, 400),
        ({"subject": ""}, 400),
        ({"provider": "unconfigured"}, 409),
    ],
)
async def test_what_cannot_be_made_is_refused_before_the_provider_is_asked(
    app: ServiceClient, sandbox: httpx2.Client, change: dict[str, Any], status: int
) -> None:
    """And credentials that were sent do not come back."""  # K1
    order = {"provider": "practice", "subject": "ann", "credentials": {}, **change}
    answer = await app.call("POST", "/v1/connections", order)
    assert answer.status_code == status
    assert "planted-credential" not in answer.text
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 0, "error": 0}


async def test_a_list_is_newest_first_page_by_page(app: ServiceClient, clock: Any) -> None:
    """Each connection once, whatever the page size, also when several were made in one millisecond."""
    made = []
    for _ in range(3):
        made.append(set(await several(app, 3)))
        clock.advance(seconds=1)
    for limit in (1, 2, 4, 9, 200):
        seen: list[str] = []
        cursor = None
        while True:
            query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
            page = (await app.call("GET", "/v1/connections", params=query)).json()
            assert page.keys() == {"items", "next_cursor"}
            assert len(page["items"]) <= limit
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 9
        assert [set(seen[:3]), set(seen[3:6]), set(seen[6:])] == made[::-1]


async def test_a_list_can_be_narrowed(app: ServiceClient) -> None:
    """By subject, provider and status, also together."""
    [ann] = await several(app, 1)
    [bob] = await several(app, 1, subject="bob")
    [two] = await several(app, 1, provider="practice-two")
    await app.call("DELETE", f"/v1/connections/{ann}")
    for query, expected in (
        ("subject=bob", {bob}),
        ("provider=practice-two", {two}),
        ("status=revoked", {ann}),
        ("status=active&subject=ann", {two}),
        ("provider=practice-two&subject=bob", set()),
        ("subject=nobody", set()),
    ):
        page = (await app.call("GET", f"/v1/connections?{query}")).json()
        assert {item["id"] for item in page["items"]} == expected


async def test_a_client_sees_the_providers_it_was_given(app: ServiceClient, make_client: MakeClient) -> None:
    """Others' connections in the same tenant are not in its lists, whatever it asks for."""  # S5
    await several(app, 2)
    [two] = await several(app, 1, provider="practice-two")
    narrow = await make_client("narrow", providers=("practice-two",))
    for query in ("", "?provider=practice", "?subject=ann", "?limit=1"):
        page = (await narrow.call("GET", f"/v1/connections{query}")).json()
        assert {item["id"] for item in page["items"]} <= {two}
    none = await make_client("none", providers=())
    assert (await none.call("GET", "/v1/connections")).json() == {"items": [], "next_cursor": None}


async def test_refreshing_and_testing_say_what_happened(
    app: ServiceClient, person: Person, sandbox: httpx2.Client
) -> None:
    """A refresh moves the generation; a test asks the provider whose account it is; neither shows a token."""
    connection = await app.connect(person)
    refreshed = await app.call("POST", f"/v1/connections/{connection['id']}/refresh")
    assert (refreshed.status_code, refreshed.json()["generation"]) == (200, 2)
    assert refreshed.json()["health"]["last_refreshed_at"] is not None
    tested = await app.call("POST", f"/v1/connections/{connection['id']}/test")
    assert tested.json() == {
        "connection_id": connection["id"],
        "status": "healthy",
        "account": {"id": "usr_1001", "name": "alice@practice.example"},
        "detail": None,
    }
    assert "pat_" not in refreshed.text + tested.text
    counters = sandbox.get("/counters").json()
    assert counters["token"]["refresh_token"] == {"ok": 1, "error": 0}
    assert counters["whoami"] == 2


async def test_disconnecting_says_what_the_provider_said_and_again_the_same(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """The provider is asked once; the ended connection can still be read."""
    answers = [await app.call("DELETE", f"/v1/connections/{connection['id']}") for _ in range(2)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.json() == {
            "id": connection["id"],
            "status": "revoked",
            "upstream": {"outcome": "revoked", "status": 200, "detail": None},
        }
    assert sandbox.get("/counters").json()["revoke"] == 1
    shown = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert (shown["status"], shown["health"]["status"]) == ("revoked", "unhealthy")


@pytest.mark.parametrize("name", ["x", "con_", "cs_" + "0" * 22, "%00", "{id}", "é", "con_" + "é" * 22])
async def test_what_is_not_a_connection_is_404(app: ServiceClient, name: str) -> None:
    """Not 400 and not 500, whatever the path holds: the answer for a well-formed name that nobody has."""
    for method, tail in (("GET", ""), ("POST", "/token"), ("DELETE", "")):
        unknown = await app.call(method, f"/v1/connections/con_{'0' * 22}{tail}")
        answer = await app.call(method, f"/v1/connections/{name}{tail}")
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
        assert nameless(answer) == nameless(unknown)
