"""Why a connection needs its person, or is less than it was: each cause has a reason of its own in ``last_error``."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.connections.verdict import refresh_token_refused, scopes_gone
from broker.errors import ProviderRefused
from broker.models.connection import Credential
from broker.models.event import Event
from broker.upstream.token_response import TokenSet
from tests.connections.practice import behave
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def connection_id(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> str:
    """A connection with the scopes ``profile`` and ``messages.read``."""
    return str((await app.connect(Person(http)))["id"])


async def seen(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """The connection as the API shows it."""
    now = ServiceClient(app.http, app.client_id, app.secret)
    answer: dict[str, Any] = (await now.call("GET", f"/v1/connections/{connection_id}")).raise_for_status().json()
    return answer


def answering(heart: Heart, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Have the provider answer refreshes with these tokens."""

    async def refresh(*_: object, scopes: tuple[str, ...], **__: object) -> TokenSet:
        tokens = TokenSet("access-2", None, 3600, scopes, asked_at=heart.clock())
        return replace(tokens, **fields)

    monkeypatch.setattr(heart.upstream, "refresh", refresh)


@pytest.mark.parametrize(
    ("unknown", "expired", "reason"),
    [
        (False, False, "revoked_at_provider"),
        (True, False, "refresh_outcome_unknown"),
        (False, True, "refresh_token_expired"),
        (True, True, "refresh_token_expired"),
    ],
)
def test_a_refused_refresh_token_has_a_reason(unknown: bool, expired: bool, reason: str) -> None:
    """Its time was over, an earlier refresh may have used it up, or somebody took the grant back."""  # P7
    assert refresh_token_refused(outcome_unknown=unknown, expired=expired).reason == reason


async def test_a_refresh_token_whose_named_time_is_over_says_so(
    app: ServiceClient, connection_id: str, heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Asked first, for the provider may have prolonged it; refused, it expired, and the person is told why."""
    before = await heart.records.read(connection_id)
    assert before is not None
    after = replace(before, generation=2, refresh_token_expires_at=clock() + 7_200_000)
    event = Event("x.imported", before.tenant, clock(), before.id)
    assert (await heart.records.replace(before, after, Credential("access", "unknown"), event)).stored
    clock.advance(seconds=7_201)
    answer = await ServiceClient(app.http, app.client_id, app.secret).fetch(connection_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "reauth_required")
    shown = await seen(app, connection_id)
    assert shown["refresh_token_expires_at"] is not None
    assert shown["health"]["last_error"]["code"] == "refresh_token_expired"
    assert shown["health"]["next_refresh_at"] is None


async def test_a_named_end_of_the_refresh_token_is_kept_and_follows_it(
    app: ServiceClient, connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    """Named: kept. Silent about a token that stays: kept still. Silent about a new one: nothing is known of that."""
    answering(heart, monkeypatch, refresh_token_expires_in=100_000)
    await heart.refresher.refresh(connection_id, 1)
    end = clock() + 100_000_000
    ends = []
    for generation, fields in enumerate(({}, {}, {"refresh_token": "another"}), start=2):
        found = await heart.records.read(connection_id)
        assert found is not None
        ends.append(found.refresh_token_expires_at)
        answering(heart, monkeypatch, **fields)
        await heart.refresher.refresh(connection_id, generation)
    found = await heart.records.read(connection_id)
    assert found is not None
    assert [*ends, found.refresh_token_expires_at] == [end, end, end, None]


async def test_fewer_scopes_are_recorded_and_said(
    app: ServiceClient, connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is stored and served with what is left of its scopes; the connection is degraded and names the rest."""
    # P6
    answering(heart, monkeypatch, scopes=("profile",))
    answer = await app.fetch(connection_id, stale_generation=1)
    assert (answer.status_code, answer.json()["scope"]) == (200, "profile")
    shown = await seen(app, connection_id)
    assert (shown["status"], shown["scopes"], shown["generation"]) == ("active", ["profile"], 2)
    assert shown["health"]["status"] == "degraded"
    assert shown["health"]["last_error"]["code"] == "scope_lost"
    assert "messages.read" in shown["health"]["last_error"]["message"]


async def test_nothing_left_of_the_scopes_needs_the_person(
    app: ServiceClient, connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed first, so nothing is lost, and then judged: the connection can't do any of what it was made for."""
    # P6
    answering(heart, monkeypatch, scopes=("something.else",), refresh_token="next")
    answer = await app.fetch(connection_id, stale_generation=1)
    assert (answer.status_code, answer.json()["code"]) == (409, "reauth_required")
    shown = await seen(app, connection_id)
    assert (shown["status"], shown["generation"]) == ("reauth_required", 2)
    assert shown["health"]["last_error"]["code"] == "scope_lost"
    found = await heart.records.read_with_credential(connection_id)
    assert found is not None
    assert found[1] is not None
    assert found[1].refresh_token == "next"


@pytest.mark.parametrize("silent", [(), None])
async def test_an_answer_without_scopes_takes_none_away(
    app: ServiceClient,
    connection_id: str,
    heart: Heart,
    monkeypatch: pytest.MonkeyPatch,
    silent: tuple[str, ...] | None,
) -> None:
    """An empty scope, which the RFC doesn't know, says as little as none: several providers send it when refreshing."""
    answering(heart, monkeypatch, **({} if silent is None else {"scopes": silent}))
    await heart.refresher.refresh(connection_id, 1)
    shown = await seen(app, connection_id)
    assert (shown["scopes"], shown["health"]["status"]) == (["profile", "messages.read"], "healthy")


async def test_a_refusal_of_scopes_that_were_not_asked_for_needs_the_person(
    app: ServiceClient, connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scope is sent with a refresh, so invalid_scope is about those that were granted."""

    async def refuse(*_: object, **__: object) -> None:
        raise ProviderRefused("invalid_scope", "no", http_status=400)

    monkeypatch.setattr(heart.upstream, "refresh", refuse)
    assert (await app.fetch(connection_id, stale_generation=1)).json()["code"] == "reauth_required"
    assert (await seen(app, connection_id))["health"]["last_error"]["code"] == "scope_lost"


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ((), (), False),
        ((), ("a",), False),
        (("a",), ("a",), False),
        (("a", "b"), ("b", "c"), False),
        (("a",), ("b",), True),
        (("a", "b"), (), True),
    ],
)
def test_when_nothing_is_left(before: tuple[str, ...], after: tuple[str, ...], gone: bool) -> None:
    """Of several scopes one is enough; a connection that never had any loses none."""
    assert scopes_gone(before, after) is gone


async def test_a_failure_says_when_it_is_tried_again(
    app: ServiceClient, connection_id: str, sandbox: httpx2.Client, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success names the next refresh, ahead of the end; so does a temporary failure, which backs off."""
    shown = await seen(app, connection_id)
    assert shown["health"]["next_refresh_at"] < shown["access_token_expires_at"]
    behave(sandbox, revoke_grants=False)

    async def refuse(*_: object, **__: object) -> None:
        raise ProviderRefused("temporarily_unavailable", "no", http_status=400)

    monkeypatch.setattr(heart.upstream, "refresh", refuse)
    assert (await app.fetch(connection_id, stale_generation=1)).status_code == 502
    health = (await seen(app, connection_id))["health"]
    assert health["last_error"]["at"] < health["next_refresh_at"]
