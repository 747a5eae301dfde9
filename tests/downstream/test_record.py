"""No token without a record: what leaves is on record before it leaves, and what can't be recorded does not leave."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import redis

from broker.app.heart import Heart
from broker.models.event import Event
from broker.models.ids import bucket_of
from tests.downstream.answers import code_of, oauth_error_of
from tests.downstream.oauth.calls import introspect, reference_for
from tests.world import Person, ServiceClient


@contextmanager
def full_memory(store: redis.Redis) -> Iterator[None]:
    """The store has no memory left for writes."""
    store.config_set("maxmemory", "1")
    try:
        yield
    finally:
        store.config_set("maxmemory", "0")


async def released(app: ServiceClient, connection: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of tokens that left."""
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    return [event for event in events if event["type"] in {"token.released", "reference.redeemed"}]


async def test_each_token_that_leaves_is_on_record(
    app: ServiceClient, connection: dict[str, Any], heart: Heart
) -> None:
    """Who, in which request, which generation; in the outbox when the answer arrives, then in both lists."""
    fetched = await app.fetch(connection["id"])
    redeemed = await app.redeem(await reference_for(app, connection, app))
    refreshed = await app.fetch(connection["id"], stale_generation=1)
    collected = heart.journal.collect([bucket_of(connection["id"])], 100)
    waiting = [parcel async for parcels in collected for parcel in parcels]
    assert {parcel.event.request_id for parcel in waiting} >= {
        answer.headers["x-request-id"] for answer in (fetched, redeemed, refreshed)
    }
    in_tenant = (await app.call("GET", "/v1/events")).json()["items"]
    in_connection = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    for answer, kind, generation in (
        (fetched, "token.released", 1),
        (redeemed, "reference.redeemed", 1),
        (refreshed, "token.released", 2),
    ):
        for listed in (in_tenant, in_connection):
            [event] = [
                event
                for event in listed
                if event["request_id"] == answer.headers["x-request-id"] and event["type"] == kind
            ]
            assert event["client_id"] == app.client_id
            assert event["connection_id"] == connection["id"]
            assert event["data"] == {"provider": "practice", "generation": generation}
            assert answer.json()["access_token"] not in str(event)


async def test_a_thousand_tokens_are_a_thousand_events(app: ServiceClient, connection: dict[str, Any]) -> None:
    """Also when they leave at the same time, and while the record is being read."""

    async def fetch() -> str:
        return str((await app.fetch(connection["id"])).raise_for_status().headers["x-request-id"])

    async def read() -> None:
        await app.call("GET", "/v1/events")

    results = await asyncio.gather(*(read() if i % 100 == 99 else fetch() for i in range(1010)))
    asked = [request_id for request_id in results if request_id]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await app.call("GET", "/v1/events", params={"limit": 200, "type": "token.released", **cursor})).json()
        seen += [event["request_id"] for event in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(asked)


async def test_what_cannot_be_recorded_does_not_leave(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """The store takes no event: 503, no token, and the reference is not spent."""
    reference = await reference_for(app, connection, app)
    with full_memory(raw_store):
        fetched, redeemed = await app.fetch(connection["id"]), await app.redeem(reference)
    assert (fetched.status_code, code_of(fetched)) == (503, "store_unavailable")
    assert (redeemed.status_code, oauth_error_of(redeemed)) == (503, "temporarily_unavailable")
    for answer in (fetched, redeemed):
        assert answer.headers["retry-after"] == "5"
        assert "pat_" not in answer.text
    assert await released(app, connection) == []
    assert (await introspect(app, reference)).json()["remaining_uses"] == 1
    assert (await app.redeem(reference)).status_code == 200


async def test_a_refresh_is_committed_even_when_the_memory_is_full(
    app: ServiceClient, person: Person, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """A rotated refresh token is never lost for want of memory: it is stored, and works the next time."""  # R5
    sandbox.post("/control", json={"rotation": "revoke_on_reuse"}).raise_for_status()
    connection = await app.connect(person)
    with full_memory(raw_store):
        refreshed = await app.call("POST", f"/v1/connections/{connection['id']}/refresh")
        answer = await app.fetch(connection["id"])
    assert refreshed.json()["generation"] == 2
    assert (answer.status_code, code_of(answer)) == (503, "store_unavailable")
    assert (await app.fetch(connection["id"])).json()["generation"] == 2
    assert (await app.fetch(connection["id"], stale_generation=2)).json()["generation"] == 3
    counters = sandbox.get("/counters").json()
    assert counters["token"]["refresh_token"] == {"ok": 2, "error": 0}
    assert counters["reuse_detected"] == 0


async def test_without_a_store_nothing_leaves(
    app: ServiceClient, connection: dict[str, Any], heart: Heart, sandbox: httpx2.Client
) -> None:
    """503 with a time to wait on every way to a token, and the provider is not asked."""  # R2
    reference = await reference_for(app, connection, app)
    asked = sandbox.get("/counters").json()
    await heart.store.aclose()
    for answer in (await app.fetch(connection["id"]), await app.redeem(reference)):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "pat_" not in answer.text
    assert sandbox.get("/counters").json() == asked


async def test_an_event_is_not_written_without_its_token(
    app: ServiceClient, connection: dict[str, Any], heart: Heart
) -> None:
    """What was refused is no release: not a wrong tenant, not a foreign reference, not an unknown generation."""
    await app.fetch("con_" + "0" * 22)
    await app.redeem("ref_" + connection["id"].split("_")[1] + "_" + "0" * 43)
    await app.fetch(connection["id"], min_ttl="x")
    assert await released(app, connection) == []


def test_an_event_has_no_place_for_a_token() -> None:
    """Its members are named one by one."""
    assert set(Event.__slots__) == {"type", "tenant", "at", "connection_id", "client_id", "request_id", "data", "id"}
