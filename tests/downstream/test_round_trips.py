"""The hot path by counting: what a fetch costs at the store, in commands and in round trips."""

import asyncio
from typing import Any

import httpx2
import pytest
import redis

from tests.downstream.oauth.calls import reference_for
from tests.downstream.watching import watching
from tests.world import REFERENCE_TYPE, TOKEN_EXCHANGE, ServiceClient


def round_trips(store: redis.Redis) -> int:
    """How often the store has read from a client so far, this time included."""
    return int(store.info("stats")["total_reads_processed"])


@pytest.fixture
async def warm(app: ServiceClient, connection: dict[str, Any]) -> str:
    """A connection of which a token was fetched a moment ago, by a caller the broker knows."""
    (await app.fetch(connection["id"])).raise_for_status()
    return str(connection["id"])


async def test_a_fetch_is_one_script_and_nothing_else(
    app: ServiceClient, warm: str, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Reading the record, judging the caller's reach and writing the event are one step; the provider is not asked."""
    asked = sandbox.get("/counters").json()
    with watching(raw_store) as watched:
        answer = await app.fetch(warm)
    assert answer.status_code == 200
    assert watched.commands == ["release"]
    assert watched.within == ["HMGET", "XADD"]
    assert sandbox.get("/counters").json() == asked


async def test_a_fetch_is_one_round_trip(app: ServiceClient, warm: str, raw_store: redis.Redis) -> None:
    """The store reads from the broker once."""
    before = round_trips(raw_store)
    await app.fetch(warm)
    assert round_trips(raw_store) - before == 1 + 1  # and once for this very question


async def test_fetches_at_the_same_time_share_their_round_trips(
    app: ServiceClient, warm: str, raw_store: redis.Redis
) -> None:
    """A hundred fetches are a hundred scripts, in a handful of writes."""
    before = round_trips(raw_store)
    with watching(raw_store) as watched:
        answers = await asyncio.gather(*(app.fetch(warm) for _ in range(100)))
    assert [answer.status_code for answer in answers] == [200] * 100
    assert watched.commands == ["release"] * 100
    assert round_trips(raw_store) - before < 20


async def test_a_refused_fetch_costs_no_more(app: ServiceClient, warm: str, raw_store: redis.Redis) -> None:
    """An unknown connection is one script that writes nothing; a malformed id is not even that."""
    with watching(raw_store) as watched:
        assert (await app.fetch("con_" + "0" * 22)).status_code == 404
        assert (await app.fetch("con_x")).status_code == 404
    assert watched.commands == ["release"]
    assert watched.within == ["HMGET"]


@pytest.mark.parametrize("way", ["basic", "post"])
async def test_redeeming_is_one_script_and_nothing_else(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis, way: str
) -> None:
    """A client in use is known; spending, reading and recording are one step."""
    reference = await reference_for(app, connection, app, max_uses=2)

    async def redeem() -> httpx2.Response:
        if way == "basic":
            return await app.redeem(reference)
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": reference, "subject_token_type": REFERENCE_TYPE}
        proof = {"client_id": app.client_id, "client_secret": app.secret}
        return await app.http.post("/oauth/token", data=form | proof)

    (await redeem()).raise_for_status()
    with watching(raw_store) as watched:
        assert (await redeem()).status_code == 200
    assert watched.commands == ["release"]
    assert watched.within == ["HMGET", "HMGET", "XADD", "HSET", "PTTL", "PEXPIRE"]


async def test_a_reference_nobody_can_parse_never_reaches_the_store(app: ServiceClient, raw_store: redis.Redis) -> None:
    """Its shape alone is enough to refuse it."""
    await app.broker_token()
    with watching(raw_store) as watched:
        assert (await app.redeem("ref_nonsense")).status_code == 400
    assert watched.commands == []


async def test_an_authorization_is_one_script_and_nothing_else(
    app: ServiceClient, warm: str, raw_store: redis.Redis, sandbox_url: str
) -> None:
    """Where its API is, is known of a connection in use; the release says whether that still holds."""
    path, request = f"/v1/connections/{warm}/authorization", {"method": "GET", "url": f"{sandbox_url}/api/messages"}
    (await app.call("POST", path, request)).raise_for_status()
    with watching(raw_store) as watched:
        assert (await app.call("POST", path, request)).status_code == 200
    assert watched.commands == ["release"]
    assert watched.within == ["HMGET", "XADD", "HMGET"]


async def test_a_request_through_the_proxy_is_one_script_and_nothing_else(
    app: ServiceClient, warm: str, raw_store: redis.Redis
) -> None:
    """And of the two ways to ask, one has told the other where the API is."""
    (await app.call("GET", f"/proxy/{warm}/messages")).raise_for_status()
    with watching(raw_store) as watched:
        assert (await app.call("GET", f"/proxy/{warm}/messages")).status_code == 200
    assert watched.commands == ["release"]
