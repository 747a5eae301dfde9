"""The one refresh: joined by everybody in the process, finished whoever gives up, and stored before all else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart, build_heart
from broker.connections.commits import rotated
from broker.errors import NotFound, ReauthRequired
from broker.models.connection import Credential
from broker.providers import Registry
from broker.settings import Settings
from broker.upstream.token_response import TokenSet
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def connection(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> dict[str, Any]:
    """A connection at a provider that ends the grant when a refresh token comes twice."""
    behave(sandbox, rotation="revoke_on_reuse")
    return await app.connect(Person(http))


async def credential_of(heart: Heart, connection_id: str) -> Credential:
    """The stored secrets."""
    found = await heart.records.read_with_credential(connection_id)
    assert found is not None
    assert found[1] is not None
    return found[1]


async def test_many_who_ask_at_once_share_one_refresh(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """A hundred fetches of an expired token are one refresh, and all get its token."""  # F5
    behave(sandbox, token_delay_ms=100)
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    await app.broker_token()
    answers = await asyncio.gather(*(app.fetch(connection["id"]) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    assert {answer.json()["generation"] for answer in answers} == {2}
    assert refreshes(sandbox) == (1, 0)


async def test_a_fresh_token_bothers_nobody(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Up to its last second a token is served as it is; past that it is refreshed."""
    clock.advance(seconds=3599)
    app = ServiceClient(app.http, app.client_id, app.secret)
    assert (await app.fetch(connection["id"])).json()["generation"] == 1
    assert refreshes(sandbox) == (0, 0)
    clock.advance(seconds=1)
    assert (await app.fetch(connection["id"])).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_min_ttl_is_met_or_the_best_there_is_is_served(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """A token that lives too short is refreshed once; the fresh one is served even if it lives shorter than asked."""
    assert (await app.fetch(connection["id"], min_ttl=3599)).json()["generation"] == 1
    assert refreshes(sandbox) == (0, 0)
    answer = (await app.fetch(connection["id"], min_ttl=7200)).json()
    assert (answer["generation"], answer["expires_in"]) == (2, 3600)
    assert refreshes(sandbox) == (1, 0)


async def test_only_the_current_generation_can_be_reported_stale(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """Many who report the same refused token cause one refresh, also those who come late."""
    answers = await asyncio.gather(*(app.fetch(connection["id"], stale_generation=1) for _ in range(20)))
    late = await app.fetch(connection["id"], stale_generation=1)
    assert {answer.json()["generation"] for answer in (*answers, late)} == {2}
    assert refreshes(sandbox) == (1, 0)


async def test_a_caller_that_gives_up_stops_no_refresh(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """Cancelled while the provider answers: what it answers is stored, and the next caller gets it."""  # F2
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection["id"], stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    let_answers_go(sandbox)
    assert await heart.refresher.drain(60) == 0
    assert (await app.fetch(connection["id"])).json()["generation"] == 2
    assert (await app.fetch(connection["id"], stale_generation=2)).json()["generation"] == 3
    assert refreshes(sandbox) == (2, 0)


async def test_who_joined_is_served_although_the_first_caller_gave_up(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """The refresh belongs to nobody."""  # F2
    hold_answers(sandbox)
    first, second = (asyncio.create_task(app.fetch(connection["id"], stale_generation=1)) for _ in range(2))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    first.cancel()
    let_answers_go(sandbox)
    assert (await second).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_draining_waits_for_what_runs(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """A process that ends tells how many refreshes it leaves behind, and with patience leaves none."""  # F3
    assert await heart.refresher.drain(0) == 0
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(connection["id"], stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    assert await heart.refresher.drain(0) == 1
    let_answers_go(sandbox)
    assert await heart.refresher.drain(60) == 0
    assert (await caller).status_code == 200


async def test_a_rotated_refresh_token_replaces_the_old_one(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """Each refresh uses the newest token; its predecessor is kept beside it until the new one worked."""
    seen = [await credential_of(heart, connection["id"])]
    for generation in (1, 2, 3):
        await app.fetch(connection["id"], stale_generation=generation)
        seen.append(await credential_of(heart, connection["id"]))
        assert seen[-1].refresh_token != seen[-2].refresh_token
        assert seen[-1].previous_refresh_token == seen[-2].refresh_token
    assert refreshes(sandbox) == (3, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


async def test_without_a_new_refresh_token_the_old_one_stays(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart
) -> None:
    """A provider that doesn't rotate answers none, and the one there is goes on working (RFC 6749 §6)."""  # P5
    connection = await app.connect(Person(http))
    before = await credential_of(heart, connection["id"])
    for generation in (1, 2):
        await app.fetch(connection["id"], stale_generation=generation)
        after = await credential_of(heart, connection["id"])
        assert after == Credential(after.access_token, before.refresh_token)
        assert after.access_token != before.access_token
    assert refreshes(sandbox) == (2, 0)


@pytest.mark.parametrize(
    ("answered", "kept", "previous"),
    [(None, "old", None), ("old", "old", None), ("new", "new", "old")],
    ids=["absent", "the same", "rotated"],
)
def test_which_refresh_token_is_kept(answered: str | None, kept: str, previous: str | None) -> None:
    """The old one, unless another came (RFC 6749 §6); then both, until the new one worked once."""  # P5
    tokens = TokenSet("access-2", answered, 3600, ("profile",))
    assert rotated(Credential("access-1", "old", "older"), tokens) == Credential("access-2", kept, previous)


async def test_a_client_credentials_connection_is_renewed_by_its_grant(
    app: ServiceClient, sandbox: httpx2.Client
) -> None:
    """Without a refresh token the grant itself gives the next token."""
    body = {"provider": "practice", "subject": "robot", "credentials": {}}
    made = await app.call("POST", "/v1/connections", body)
    assert made.status_code == 201
    answer = await app.fetch(made.json()["id"], stale_generation=1)
    assert answer.json()["generation"] == 2
    counted = sandbox.get("/counters").json()["token"]
    assert counted["client_credentials"] == {"ok": 2, "error": 0}
    assert counted["refresh_token"] == {"ok": 0, "error": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "another-app"},
        {
            "issuer": "https://other.example",
            "authorization_endpoint": "https://other.example/authorize",
            "token_endpoint": "https://other.example/token",
        },
    ],
    ids=["client_id", "issuer"],
)
async def test_tokens_of_another_app_or_issuer_are_sent_nowhere(
    app: ServiceClient,
    connection: dict[str, Any],
    sandbox: httpx2.Client,
    settings: Settings,
    providers: Registry,
    clock: FakeClock,
    change: dict[str, str],
) -> None:
    """A refresh token is only ever sent as the app, and to the issuer, that it came from."""
    turned = Registry(provider.model_copy(update=change) for provider in providers)
    other = build_heart(settings, turned, clock)
    with pytest.raises(ReauthRequired, match="another OAuth app"):
        await other.refresher.refresh(connection["id"], 1)
    await other.aclose(work_ends_within=1)
    assert refreshes(sandbox) == (0, 0)
    assert (await app.fetch(connection["id"], stale_generation=1)).status_code == 200


async def test_an_entry_can_be_hardened_without_losing_its_connections(
    connection: dict[str, Any],
    sandbox: httpx2.Client,
    settings: Settings,
    providers: Registry,
    clock: FakeClock,
) -> None:
    """An iss that is expected from now on says nothing about whose the stored tokens are."""
    change = {"authorization_response_iss": "https://issuer.example"}
    hardened = Registry(provider.model_copy(update=change) for provider in providers)
    other = build_heart(settings, hardened, clock)
    await other.refresher.refresh(connection["id"], 1)
    await other.aclose(work_ends_within=1)
    assert refreshes(sandbox) == (1, 0)


async def test_what_is_gone_or_has_moved_on_is_not_refreshed(
    connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """An unknown connection is not found; one that has left the generation needs nothing."""
    with pytest.raises(NotFound):
        await heart.refresher.refresh("con_0000000000000000000001", 1)
    await heart.refresher.refresh(connection["id"], 7)
    assert refreshes(sandbox) == (0, 0)
