"""The audit record as services read it: newest first, page by page, each event once and to those it concerns."""

import base64
from typing import Any

import pytest
import redis

from broker.downstream.api import events
from tests.downstream.answers import code_of
from tests.journey import MakeClient
from tests.world import FakeClock, Person, ServiceClient


async def pages(app: ServiceClient, path: str, limit: int, **query: str) -> list[dict[str, Any]]:
    """All items of a list, read with this page size, but those about clients: each test begins by registering some."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await app.call("GET", path, params={"limit": limit, **query, **cursor})).raise_for_status().json()
        assert page.keys() == {"items", "next_cursor"}
        items += page["items"]
        if page["next_cursor"] is None:
            return [item for item in items if not item["type"].startswith("client.")]
        cursor = {"cursor": page["next_cursor"]}


async def test_a_connections_life_is_on_record(app: ServiceClient, person: Person, clock: FakeClock) -> None:
    """Each step once, newest first, with who asked and in which request; the subject's tokens are in none."""
    connection = await app.connect(person)
    steps = [
        ("token.released", await app.fetch(connection["id"])),
        ("credential.refreshed", await app.call("POST", f"/v1/connections/{connection['id']}/refresh")),
        ("connection.revoked", await app.call("DELETE", f"/v1/connections/{connection['id']}")),
    ]
    listed = await app.call("GET", f"/v1/connections/{connection['id']}/events")
    by_type = {event["type"]: event for event in listed.json()["items"]}
    assert by_type.keys() == {
        "connection.created", "reference.issued", "revocation.settled", *(name for name, _ in steps),
    }  # fmt: skip
    for name, answer in steps:
        assert by_type[name]["request_id"] == answer.headers["x-request-id"]
        assert by_type[name]["connection_id"] == connection["id"]
        assert by_type[name]["data"]["provider"] == "practice"
    assert by_type["token.released"]["client_id"] == app.client_id
    assert by_type["token.released"]["data"]["generation"] == 1
    assert "pat_" not in listed.text
    assert "prt_" not in listed.text


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
async def test_events_are_newest_first_and_each_comes_once(
    app: ServiceClient, connection: dict[str, Any], clock: FakeClock, limit: int
) -> None:
    """Whatever the page size, also where several stand in one millisecond; both lists agree."""
    fetched = []
    for _ in range(4):
        clock.advance(seconds=1)
        fetched.append({(await app.fetch(connection["id"])).headers["x-request-id"] for _ in range(3)})
    for path in ("/v1/events", f"/v1/connections/{connection['id']}/events"):
        found = await pages(app, path, limit)
        assert len({event["id"] for event in found}) == len(found) == 13
        assert [event["at"] for event in found] == sorted((event["at"] for event in found), reverse=True)
        ids = [event["request_id"] for event in found]
        assert [set(ids[0:3]), set(ids[3:6]), set(ids[6:9]), set(ids[9:12])] == fetched[::-1]
        assert found[12]["type"] == "connection.created"


async def test_events_can_be_narrowed_to_a_type(app: ServiceClient, connection: dict[str, Any]) -> None:
    """A type that never happened is an empty list, one that can't be a type is a fault."""
    await app.fetch(connection["id"])
    for path in ("/v1/events", f"/v1/connections/{connection['id']}/events"):
        assert [event["type"] for event in await pages(app, path, 1, type="token.released")] == ["token.released"]
        assert await pages(app, path, 50, type="token.stolen") == []
        answer = await app.call("GET", path, params={"type": '"}, x'})
        assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


async def test_what_was_recorded_before_is_in_the_answer(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """No waiting for a background process: the event of a fetch is there with the next request."""
    for number in range(1, 4):
        answer = await app.fetch(connection["id"])
        for path in ("/v1/events", f"/v1/connections/{connection['id']}/events"):
            found = await pages(app, path, 50, type="token.released")
            assert len(found) == number
            assert answer.headers["x-request-id"] in {event["request_id"] for event in found}


async def test_a_client_reads_only_of_the_providers_it_was_given(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """Of no kind of event about another provider: not of making, fetching, referring, redeeming or revoking."""  # S5
    reference = await app.call(
        "POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id, "max_uses": 5}
    )
    await app.redeem(reference.json()["reference"])
    await app.http.post(
        "/oauth/revoke", data={"token": reference.json()["reference"]}, auth=(app.client_id, app.secret)
    )
    await app.fetch(connection["id"])
    await app.call("POST", f"/v1/connections/{connection['id']}/refresh")
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    seen = {event["type"] for event in await pages(app, "/v1/events", 50)}
    assert seen == {
        "connection.created", "reference.issued", "reference.redeemed", "reference.revoked", "token.released",
        "credential.refreshed", "connection.revoked", "revocation.settled",
    }  # fmt: skip
    narrow = await make_client("narrow", providers=("practice-two",))
    # Nor of clients: what they were given is not for everybody.
    assert (await narrow.call("GET", "/v1/events")).json()["items"] == []
    all_of_them = await make_client("wide", providers=("practice", "practice-two"))
    assert {event["type"] for event in await pages(all_of_them, "/v1/events", 2)} == seen


async def test_pages_are_filled_although_little_of_what_happened_is_shown(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, clock: FakeClock
) -> None:
    """Other types and other providers in between are passed over: no page is empty while more matches follow."""
    body = {"provider": "practice-two", "subject": "ann", "credentials": {}}
    clock.advance(seconds=1)
    other = (await app.call("POST", "/v1/connections", body)).raise_for_status().json()
    clock.advance(seconds=1)
    await app.call("POST", f"/v1/connections/{other['id']}/refresh")
    for _ in range(4):
        clock.advance(seconds=1)
        await app.fetch(connection["id"])
    narrow = await make_client("narrow", providers=("practice-two",))
    for limit in (1, 2, 50):
        found = await pages(narrow, "/v1/events", limit)
        assert [event["type"] for event in found] == ["credential.refreshed", "connection.created"]
    page = (await narrow.call("GET", "/v1/events?limit=2")).json()
    assert len(page["items"]) == 2
    for path in ("/v1/events", f"/v1/connections/{other['id']}/events"):
        page = (await app.call("GET", path, params={"limit": 1, "type": "connection.created"})).json()
        assert [event["connection_id"] for event in page["items"]] == [other["id"]]


@pytest.mark.parametrize(("read", "looked"), [(1, 1), (1, 3), (2, 4)])
async def test_one_request_looks_at_so_many_events_at_most(
    app: ServiceClient,
    connection: dict[str, Any],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    read: int,
    looked: int,
) -> None:
    """Then the page is short, even empty, and its cursor goes on from the last event looked at; none gets lost."""
    monkeypatch.setattr(events, "_READ_AT_ONCE", read)
    monkeypatch.setattr(events, "_LOOKED_AT_MOST", looked)
    for _ in range(5):
        clock.advance(seconds=1)
        await app.fetch(connection["id"])
    for path in ("/v1/events", f"/v1/connections/{connection['id']}/events"):
        short = (await app.call("GET", path, params={"type": "connection.created"})).json()
        assert short["items"] == []
        assert short["next_cursor"]
        assert len(await pages(app, path, 50, type="connection.created")) == 1
        assert len(await pages(app, path, 2, type="token.released")) == 5


async def test_a_cursor_says_nothing_of_what_its_holder_may_not_see(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It marks a place; it does not carry the event that stands there."""  # S5
    narrow = await make_client("narrow", providers=("practice-two",))
    monkeypatch.setattr(events, "_READ_AT_ONCE", 1)
    monkeypatch.setattr(events, "_LOOKED_AT_MOST", 1)
    page = (await narrow.call("GET", "/v1/events?limit=1")).json()
    assert page["items"] == []
    marked = base64.urlsafe_b64decode(page["next_cursor"] + "==")
    assert connection["id"].encode() not in marked
    assert app.client_id.encode() not in marked
    assert b"practice" not in marked


@pytest.mark.parametrize("place", ["x", "-1:x", "x:1", "1e5:x", "nan:x", "inf:x", ":", "9" * 400 + ":x", "1:\x00"])
async def test_a_made_up_cursor_does_no_harm(app: ServiceClient, connection: dict[str, Any], place: str) -> None:
    """It is refused, or marks a place where nothing of others stands."""
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    for path in ("/v1/events", f"/v1/connections/{connection['id']}/events", "/v1/connections"):
        answer = await app.call("GET", path, params={"cursor": cursor})
        assert answer.status_code in {200, 400}
        if answer.status_code == 200:
            assert all(item["tenant"] == "default" for item in answer.json()["items"])


async def test_another_tenants_cursor_leads_nowhere_else(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """A cursor is a place in the reader's own list."""  # S5
    await app.fetch(connection["id"])
    cursor = (await app.call("GET", "/v1/events?limit=1")).json()["next_cursor"]
    stranger = await make_client("stranger", tenant="elsewhere")
    answer = await stranger.call("GET", "/v1/events", params={"cursor": cursor})
    assert {event["tenant"] for event in answer.json()["items"]} <= {"elsewhere"}
