"""The provider says no, or nothing at all: what is believed, what is kept, and what the caller is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from broker.app.heart import Heart, build_heart
from broker.errors import AddressRefused, ProviderError, ProviderRefused
from broker.models.connection import Credential
from broker.models.event import Event
from broker.providers import Registry
from broker.providers.schema import Identity, Provider
from broker.settings import Settings
from tests.connections.practice import behave, hold_answers, late_answers, let_answers_go, refreshes
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def line(sandbox_url: str) -> AsyncIterator[FaultyProxy]:
    """The line to the provider's token endpoint."""
    async with FaultyProxy(sandbox_url.removeprefix("http://")) as line:
        yield line


@pytest.fixture
def providers(providers: Registry, sandbox_url: str, line: FaultyProxy) -> Registry:
    """The practice providers, with their token endpoint at the other end of ``line``."""

    def rerouted(provider: Provider) -> Provider:
        return provider.model_copy(
            update={
                "authorization_endpoint": f"{sandbox_url}/authorize",
                "token_endpoint": f"http://{line.address}/token",
                "identity": Identity(url=f"{sandbox_url}/whoami", id="/sub"),
                "timeout": 3.0,
            }
        )

    return Registry(rerouted(provider) for provider in providers)


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def connection(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> dict[str, Any]:
    """A connection at a provider that ends the grant when a refresh token comes twice."""
    behave(sandbox, rotation="revoke_on_reuse")
    return await app.connect(Person(http))


async def seen(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """The connection as the API shows it."""
    now = ServiceClient(app.http, app.client_id, app.secret)
    answer: dict[str, Any] = (await now.call("GET", f"/v1/connections/{connection_id}")).raise_for_status().json()
    return answer


async def fetch(app: ServiceClient, connection_id: str, **body: Any) -> httpx2.Response:
    """A fetch with a broker token of this moment."""
    return await ServiceClient(app.http, app.client_id, app.secret).fetch(connection_id, **body)


async def test_a_revoked_grant_is_believed_once(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """invalid_grant makes the connection reauth_required, with the reason; nobody asks the provider again."""  # P7
    behave(sandbox, revoke_grants=True)
    answers = await asyncio.gather(*(fetch(app, connection["id"], stale_generation=1) for _ in range(10)))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "reauth_required")}
    for _ in range(3):
        assert (await fetch(app, connection["id"])).status_code == 409
        assert (await fetch(app, connection["id"], stale_generation=1)).status_code == 409
        assert (await app.call("POST", f"/v1/connections/{connection['id']}/refresh")).status_code == 409
    assert refreshes(sandbox) == (0, 1)
    shown = await seen(app, connection["id"])
    assert shown["status"] == "reauth_required"
    assert shown["generation"] == 1
    assert shown["health"]["status"] == "unhealthy"
    assert shown["health"]["last_error"]["code"] == "revoked_at_provider"
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    assert [event["type"] for event in events].count("connection.reauth_required") == 1


async def test_a_refusal_of_a_replaced_token_is_not_believed(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart
) -> None:
    """invalid_grant, but meanwhile another writer stored a newer generation: that one is served."""  # P7
    connection = await app.connect(Person(http), provider="practice-graceful")
    before = await heart.records.read(connection["id"])
    assert before is not None
    behave(sandbox, revoke_grants=True)
    hold_answers(sandbox)
    caller = asyncio.create_task(fetch(app, connection["id"], stale_generation=1))
    refreshing = asyncio.create_task(app.call("POST", f"/v1/connections/{connection['id']}/refresh"))
    await eventually(lambda: refreshes(sandbox) == (0, 1))
    event = Event("credential.refreshed", before.tenant, heart.clock(), before.id)
    assert (
        await heart.records.replace(before, replace(before, generation=2), Credential("newer", "next"), event)
    ).stored
    let_answers_go(sandbox)
    answer = await caller
    assert (answer.status_code, answer.json().get("access_token")) == (200, "newer")
    assert (await refreshing).status_code == 200
    assert (await seen(app, connection["id"]))["status"] == "active"
    assert refreshes(sandbox) == (0, 1)


async def test_a_connection_that_was_authorized_anew_meanwhile_stays_active(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    connection: dict[str, Any],
    sandbox: httpx2.Client,
    heart: Heart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The person reconnects while the refresh of the old grant is refused: the new grant is what counts."""  # P7
    behave(sandbox, revoke_grants=True)
    arrive = late_answers(heart, monkeypatch)
    caller = asyncio.create_task(fetch(app, connection["id"], stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (0, 1))
    renewed = await app.connect(Person(http), connection_id=connection["id"])
    assert (renewed["id"], renewed["generation"]) == (connection["id"], 2)
    arrive.set()
    answer = await caller
    assert (answer.status_code, answer.json().get("generation")) == (200, 2)
    assert (await seen(app, connection["id"]))["status"] == "active"


async def test_without_a_refresh_token_an_expired_connection_needs_the_person(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart, clock: FakeClock
) -> None:
    """Nothing is sent; the reason says that the access token expired, not that somebody revoked it."""
    before = await heart.records.read(connection["id"])
    assert before is not None
    event = Event("x.imported", before.tenant, heart.clock(), before.id)
    assert (await heart.records.replace(before, replace(before, generation=2), Credential("only-access"), event)).stored
    assert (await fetch(app, connection["id"])).json()["access_token"] == "only-access"
    clock.advance(seconds=3601)
    assert (await fetch(app, connection["id"])).status_code == 409
    assert (await seen(app, connection["id"]))["health"]["last_error"]["code"] == "access_token_expired"
    assert refreshes(sandbox) == (0, 0)


async def without_refresh_token(app: ServiceClient, heart: Heart, connection_id: str) -> str:
    """Take the refresh token away; answers the access token that is left."""
    token = str((await fetch(app, connection_id)).json()["access_token"])
    before = await heart.records.read(connection_id)
    assert before is not None
    event = Event("x.imported", before.tenant, heart.clock(), before.id)
    assert (await heart.records.replace(before, replace(before, generation=2), Credential(token), event)).stored
    return token


async def test_a_callers_word_alone_ends_no_grant(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """Said to be refused, without a refresh token: the provider is asked, accepts it, and nothing ends."""  # P7
    token = await without_refresh_token(app, heart, connection["id"])
    answer = await fetch(app, connection["id"], stale_generation=2)
    assert (answer.status_code, answer.json()["code"]) == (502, "provider_error")
    assert (await seen(app, connection["id"]))["status"] == "active"
    assert (await fetch(app, connection["id"])).json()["access_token"] == token


async def test_where_the_provider_cannot_be_asked_the_caller_is_sent_to_the_person(
    app: ServiceClient,
    connection: dict[str, Any],
    sandbox: httpx2.Client,
    heart: Heart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No whoami: who reports the refusal gets 409, the others the token; a min_ttl too long is no report."""  # P7
    token = await without_refresh_token(app, heart, connection["id"])

    async def nobody(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(heart.upstream, "identify", nobody)
    answer = await fetch(app, connection["id"], stale_generation=2)
    assert (answer.status_code, answer.json()["code"]) == (409, "reauth_required")
    assert (await seen(app, connection["id"]))["status"] == "active"
    assert (await fetch(app, connection["id"], min_ttl=7200)).json()["access_token"] == token


async def test_what_the_provider_refuses_too_needs_the_person(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, heart: Heart
) -> None:
    """Revoked at a provider that gave no refresh token: the caller's report is confirmed, and the reason says so."""
    # P7
    await without_refresh_token(app, heart, connection["id"])
    behave(sandbox, expire_access_tokens=True)
    assert (await fetch(app, connection["id"], stale_generation=2)).status_code == 409
    shown = await seen(app, connection["id"])
    assert (shown["status"], shown["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")
    assert refreshes(sandbox) == (0, 0)


async def test_a_provider_that_is_down_is_bridged_while_the_token_lives(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client, line: FaultyProxy, clock: FakeClock
) -> None:
    """A living token is served although a fresher one was asked for; a dead one is a 503; nothing is lost."""  # P1
    alive = (await fetch(app, connection["id"])).json()["access_token"]
    await line.cut()
    bridged = await fetch(app, connection["id"], min_ttl=7200)
    assert (bridged.status_code, bridged.json()["access_token"]) == (200, alive)
    refused = await fetch(app, connection["id"], stale_generation=1)
    assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
    clock.advance(seconds=3601)
    dead = await fetch(app, connection["id"])
    assert (dead.status_code, dead.json()["code"]) == (503, "provider_unavailable")
    assert int(dead.headers["Retry-After"]) >= 1
    shown = await seen(app, connection["id"])
    assert (shown["status"], shown["health"]["status"]) == ("active", "degraded")
    assert shown["health"]["consecutive_failures"] == 3
    await line.heal()
    assert (await fetch(app, connection["id"])).json()["generation"] == 2
    assert (await seen(app, connection["id"]))["health"]["status"] == "healthy"
    assert refreshes(sandbox) == (1, 0)


async def test_a_wrong_client_secret_leaves_the_connection_intact(
    app: ServiceClient,
    connection: dict[str, Any],
    heart: Heart,
    settings: Settings,
    providers: Registry,
    clock: FakeClock,
    sandbox: httpx2.Client,
) -> None:
    """invalid_client is the operator's fault and not the end of a grant: nothing of the credential is lost."""  # P8
    before = await heart.records.read_with_credential(connection["id"])
    wrong = Registry(p.model_copy(update={"client_secret": SecretStr("wrong")}) for p in providers)
    other = build_heart(settings, wrong, clock)
    with pytest.raises(ProviderError, match="invalid_client"):
        await other.refresher.refresh(connection["id"], 1)
    await other.aclose(work_ends_within=1)
    after = await heart.records.read_with_credential(connection["id"])
    assert before is not None
    assert after is not None
    assert after == (replace(before[0], updated_at=after[0].updated_at, health=after[0].health), before[1])
    assert after[0].health.consecutive_failures == 1
    assert (await fetch(app, connection["id"], stale_generation=1)).status_code == 200
    assert refreshes(sandbox) == (1, 1)


@pytest.mark.parametrize(
    "code", ["no_refresh_token", "access_token_refused", "access_token_expired", "reauth_required"]
)
async def test_no_code_of_a_provider_passes_for_a_verdict_of_ours(
    app: ServiceClient, connection: dict[str, Any], heart: Heart, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Only invalid_grant from the token endpoint speaks about the grant, however the provider names its error."""  # P7

    async def refusing(*_: object, **__: object) -> None:
        raise ProviderRefused(code, "the provider refused", http_status=400)

    monkeypatch.setattr(heart.upstream, "refresh", refusing)
    assert (await fetch(app, connection["id"], stale_generation=1)).status_code == 502
    assert (await seen(app, connection["id"]))["status"] == "active"
    await without_refresh_token(app, heart, connection["id"])
    monkeypatch.setattr(heart.upstream, "identify", refusing)
    assert (await fetch(app, connection["id"], stale_generation=2)).status_code == 502
    assert (await seen(app, connection["id"]))["status"] == "active"


async def test_an_app_has_no_person_to_authorize_it_again(
    app: ServiceClient, sandbox: httpx2.Client, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """invalid_grant to the app's own grant is the operator's to mend, as invalid_client is."""  # P8
    body = {"provider": "practice", "subject": "robot", "credentials": {}}
    connection = (await app.call("POST", "/v1/connections", body)).json()

    async def refusing(*_: object, **__: object) -> None:
        raise ProviderRefused("invalid_grant", "the provider refused", http_status=400)

    monkeypatch.setattr(heart.upstream, "issue", refusing)
    assert (await fetch(app, connection["id"], stale_generation=1)).status_code == 502
    assert (await seen(app, connection["id"]))["status"] == "active"


async def test_an_address_that_can_not_be_called_is_no_fault_of_who_asks(
    app: ServiceClient, connection: dict[str, Any], heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discovered at a private address: 502 for who needs a new token, and a living one is served."""  # P1

    async def refused(*_: object, **__: object) -> None:
        raise AddressRefused("10.0.0.1 is not a public address")

    for call in ("refresh", "endpoints"):
        monkeypatch.setattr(heart.upstream, call, refused)
        answer = await fetch(app, connection["id"], stale_generation=1)
        assert (answer.status_code, answer.json()["code"]) == (502, "provider_error")
        assert (await fetch(app, connection["id"], min_ttl=7200)).status_code == 200
