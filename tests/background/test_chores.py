"""The chores: revocations are retried for a day, what ended leaves the lists, one not stopping the others."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.background.checking import Checking
from broker.background.chores import WhatIsDue, chores
from broker.background.refreshing import RefreshAhead
from broker.models.ids import bucket_of
from broker.providers import Registry, load_providers
from broker.vault import names
from tests.journey import MakeClient, everything_in
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer
from tests.world import FakeClock, ServiceClient

_ENTRY = """
providers:
  practice:
    display_name: Practice
    type: oauth2
    authorization_endpoint: ${PRACTICE}/authorize
    token_endpoint: ${PRACTICE}/token
    revocation: {endpoint: "${PRACTICE}/revoke"}
    client_id: practice-client
    client_secret: practice-secret
    grant_types: [authorization_code, client_credentials]
"""
DAY = 86_400
STAYS = 30 * DAY


@pytest.fixture
async def server() -> AsyncIterator[PracticeServer]:
    """A provider that issues tokens, and whose revocation endpoint is down."""
    async with practice_server() as server:
        server.answers["/token"] = json_answer({"access_token": "at-1", "token_type": "Bearer", "expires_in": 60})
        server.answers["/revoke"] = raw_answer(503)
        yield server


@pytest.fixture
def providers(server: PracticeServer, tmp_path: Path) -> Registry:
    """One entry, for that provider."""
    path = tmp_path / "providers.yaml"
    path.write_text(_ENTRY)
    return load_providers(path, {"PRACTICE": server.origin})


@pytest.fixture
def due(heart: Heart) -> WhatIsDue:
    """The chore as processes run it."""
    return WhatIsDue(heart.due, heart.revocations, heart.giving_back, heart.directory, heart.devices.life, heart.clock)


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A backend with every scope."""
    return await make_client()


async def ended(app: ServiceClient) -> str:
    """A connection that was disconnected while the provider could not take its credential back."""
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    connection = (await app.call("POST", "/v1/connections", order)).json()
    answer = (await app.call("DELETE", f"/v1/connections/{connection['id']}")).json()
    assert answer["upstream"]["outcome"] == "pending"
    return str(connection["id"])


def revoked(server: PracticeServer) -> int:
    """How often the provider was asked to take a credential back."""
    return sum(asked.target == "/revoke" for asked in server.asked)


async def settled(app: ServiceClient, heart: Heart, connection_id: str) -> list[dict[str, Any]]:
    """What the audit record says about the outcome."""
    await heart.bookkeeping.settle_all()
    app = ServiceClient(app.http, app.client_id, app.secret)
    path = f"/v1/connections/{connection_id}/events?type=revocation.settled"
    items: list[dict[str, Any]] = (await app.call("GET", path)).json()["items"]
    return items


async def upstream_of(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """What ``DELETE`` answers about the provider now."""
    app = ServiceClient(app.http, app.client_id, app.secret)
    upstream: dict[str, Any] = (await app.call("DELETE", f"/v1/connections/{connection_id}")).json()["upstream"]
    return upstream


async def outcome_of(app: ServiceClient, connection_id: str) -> str:
    """The ``outcome`` in it."""
    return str((await upstream_of(app, connection_id))["outcome"])


async def test_a_pending_revocation_is_retried_until_it_works(
    app: ServiceClient, due: WhatIsDue, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Not before it is due; when it worked, nothing of the credential is left, and it is not tried again."""
    connection_id = await ended(app)
    assert await due.step() == 0
    clock.advance(seconds=31)
    assert await due.step() == 1
    assert (revoked(server), await outcome_of(app, connection_id)) == (2, "pending")
    assert await due.step() == 0
    server.answers["/revoke"] = raw_answer(200)
    clock.advance(seconds=121)
    assert await due.step() == 1
    assert await outcome_of(app, connection_id) == "revoked"
    assert raw_store.exists(names.revocation(connection_id)) == 0
    clock.advance(seconds=DAY)
    assert await due.step() == 0
    assert revoked(server) == 3


async def test_an_ended_connection_leaves_every_list_when_its_time_is_over(
    app: ServiceClient, due: WhatIsDue, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Nobody has to list its subject or tenant; before, it can be read for thirty days; another one stays listed."""
    server.answers["/revoke"] = raw_answer(200)
    before = set(raw_store.keys("*"))
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    connection_id = str((await app.call("POST", "/v1/connections", order)).json()["id"])
    other_id = str((await app.call("POST", "/v1/connections", order | {"subject": "bob"})).json()["id"])
    await app.call("DELETE", f"/v1/connections/{connection_id}")
    # An entry that came after the end, as from a replica that had read the connection just before.
    account = names.account_index(server.origin, "practice-client", "")
    raw_store.sadd(account, connection_id)
    clock.advance(seconds=STAYS - 1)
    assert await due.step() == 0
    assert raw_store.exists(names.record(connection_id)) == 1
    assert raw_store.ttl(names.record(connection_id)) > STAYS
    clock.advance(seconds=1)
    assert await due.step() == 1
    assert raw_store.smembers(account) == {other_id.encode()}
    assert raw_store.zrange(names.tenant_index("default"), 0, -1) == [other_id.encode()]
    left = set(raw_store.keys("*")) - before
    assert names.subject_index("default", "ann").encode() not in left
    assert not {key for key in left if key in {names.record(connection_id).encode(), names.due(connection_id).encode()}}
    assert await due.step() == 0


async def test_a_connection_that_lives_is_not_forgotten(
    app: ServiceClient, due: WhatIsDue, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Due work that says otherwise is struck off, and nothing else happens."""
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    connection_id = str((await app.call("POST", "/v1/connections", order)).json()["id"])
    raw_store.zadd(names.due(connection_id), {f"unlist:{connection_id}": clock.now})
    assert await due.step() == 1
    assert raw_store.zscore(names.due(connection_id), f"unlist:{connection_id}") is None
    assert raw_store.exists(names.record(connection_id)) == 1
    assert raw_store.zcard(names.subject_index("default", "ann")) == 1


async def test_what_waits_to_be_revoked_is_sealed(app: ServiceClient, raw_store: redis.Redis) -> None:
    """The queue holds no token that could be read, and lives for a day at most."""  # K1
    connection_id = await ended(app)
    assert b"at-1" not in everything_in(raw_store)
    assert 0 < int(raw_store.ttl(names.revocation(connection_id))) <= DAY


async def test_a_job_whose_day_is_over_is_dropped(
    app: ServiceClient, due: WhatIsDue, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """The credential is gone, so is the entry that says it is due; the connection doesn't say ``pending`` for ever."""
    connection_id = await ended(app)
    raw_store.delete(names.revocation(connection_id))
    clock.advance(seconds=DAY)
    await due.step()
    upstream = await upstream_of(app, connection_id)
    assert (upstream["outcome"], upstream["status"]) == ("failed", None)
    assert "within a day" in upstream["detail"]
    assert raw_store.zscore(names.due(connection_id), f"revoke:{connection_id}") is None
    assert revoked(server) == 1


async def test_a_job_that_was_done_is_not_called_failed(
    app: ServiceClient, due: WhatIsDue, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Another replica gave it back and died before it could strike it off: what is noted stays."""
    server.answers["/revoke"] = raw_answer(200)
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    connection_id = str((await app.call("POST", "/v1/connections", order)).json()["id"])
    assert await outcome_of(app, connection_id) == "revoked"
    raw_store.zadd(names.due(connection_id), {f"revoke:{connection_id}": clock.now})
    assert await due.step() == 1
    assert await outcome_of(app, connection_id) == "revoked"
    assert await due.step() == 0


@pytest.mark.parametrize("damage", ["flipped", "garbage"])
async def test_one_job_that_cannot_be_opened_does_not_keep_the_others_waiting(
    app: ServiceClient, due: WhatIsDue, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis, damage: str
) -> None:
    """The broken one is kept; those behind it are given back in the same round."""  # K3
    jobs = sorted([await ended(app) for _ in range(4)], key=bucket_of)
    key = names.revocation(jobs[0])
    stored = raw_store.get(key)
    assert isinstance(stored, bytes)
    damaged = stored[:-1] + bytes([stored[-1] ^ 1]) if damage == "flipped" else b"garbage"
    raw_store.set(key, damaged, keepttl=True)
    server.answers["/revoke"] = raw_answer(200)
    clock.advance(seconds=31)
    assert await due.step() == 4
    assert [await outcome_of(app, connection_id) for connection_id in jobs] == ["pending", *["revoked"] * 3]
    assert raw_store.exists(key) == 1


async def test_the_chores_are_settling_doing_what_is_due_refreshing_and_testing(
    heart: Heart, due: WhatIsDue, http: httpx2.AsyncClient
) -> None:
    """Each rests longer when there was nothing to do; one round of each works on an empty store."""
    ahead = RefreshAhead(heart.due, heart.records, heart.refresher, heart.providers, heart.clock)
    checking = Checking(heart.due, heart.records, heart.lifecycle, heart.providers, heart.clock)
    for chore in chores(heart.bookkeeping, due, ahead, checking, heart.moving):
        assert chore.rest_when_busy < chore.rest_when_idle
        assert await chore.step() == 0


async def test_the_record_says_what_came_of_a_retry(
    app: ServiceClient, heart: Heart, due: WhatIsDue, server: PracticeServer, clock: FakeClock
) -> None:
    """Nothing while it is pending; then one event, by nobody's request."""
    connection_id = await ended(app)
    clock.advance(seconds=31)
    await due.step()
    assert await settled(app, heart, connection_id) == []
    server.answers["/revoke"] = raw_answer(200)
    clock.advance(seconds=121)
    await due.step()
    (event,) = await settled(app, heart, connection_id)
    assert event["data"] == {"provider": "practice", "outcome": "revoked", "status": 200}
    assert (event["client_id"], event["request_id"]) == (None, None)


@pytest.mark.parametrize("change", [{"issuer": "http://127.0.0.1:1"}, {"client_id": None}, None])
async def test_an_entry_that_is_wrong_for_a_while_ends_no_revocation(
    app: ServiceClient,
    heart: Heart,
    due: WhatIsDue,
    server: PracticeServer,
    clock: FakeClock,
    change: dict[str, str | None] | None,
) -> None:
    """A broker that was started with a wrong or missing entry leaves it pending; the next one, mended, revokes."""
    connection_id = await ended(app)
    entry = heart.providers.get("practice")
    mistaken = {"token_endpoint": None, "revocation": None, **change} if change else {}
    entries = [entry.model_copy(update=mistaken)] if change else []
    wrong = build_heart(heart.settings, Registry(entries), clock)
    clock.advance(seconds=31)
    assert (
        await WhatIsDue(
            wrong.due, wrong.revocations, wrong.giving_back, wrong.directory, wrong.devices.life, clock
        ).step()
        == 1
    )
    await wrong.aclose(work_ends_within=5)
    assert await outcome_of(app, connection_id) == "pending"
    server.answers["/revoke"] = raw_answer(200)
    clock.advance(seconds=121)
    assert await due.step() == 1
    assert await outcome_of(app, connection_id) == "revoked"


async def test_an_entry_of_another_app_ends_a_revocation(
    app: ServiceClient, heart: Heart, server: PracticeServer, clock: FakeClock
) -> None:
    """That app has no business with the token, however long one waits."""
    connection_id = await ended(app)
    asked = revoked(server)
    other = heart.providers.get("practice").model_copy(update={"client_id": "another-app"})
    wrong = build_heart(heart.settings, Registry([other]), clock)
    clock.advance(seconds=31)
    assert (
        await WhatIsDue(
            wrong.due, wrong.revocations, wrong.giving_back, wrong.directory, wrong.devices.life, clock
        ).step()
        == 1
    )
    await wrong.aclose(work_ends_within=5)
    assert (await outcome_of(app, connection_id), revoked(server)) == ("failed", asked)
    (event,) = await settled(app, heart, connection_id)
    assert event["data"] == {"provider": "practice", "outcome": "failed", "status": None}


async def test_the_end_of_the_day_is_on_record(
    app: ServiceClient, heart: Heart, due: WhatIsDue, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """That the credential was erased without the provider's answer is an outcome too."""
    connection_id = await ended(app)
    raw_store.delete(names.revocation(connection_id))  # as its day does
    clock.advance(seconds=86_401)
    assert await due.step() == 1
    assert await outcome_of(app, connection_id) == "failed"
    (event,) = await settled(app, heart, connection_id)
    assert event["data"]["outcome"] == "failed"
