"""Fetching a token: who may not have it hears why, and a reference is spent by a token and by nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.connections.tokens import ReferenceUnknown
from broker.errors import BrokerError, Conflict, Forbidden, NotConfigured, NotFound, ProviderUnavailable, ReauthRequired
from broker.models.access import Reach
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.models.ids import new_id
from broker.providers import Registry
from tests.connections.practice import behave, refreshes
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import CREDENTIAL, a_connection
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
REACH = Reach("acme", None)


@pytest.fixture
async def stored(heart: Heart, clock: FakeClock) -> Connection:
    """An active connection of tenant ``acme``."""
    connection = a_connection(access_token_expires_at=clock() + 60_000)
    await heart.records.create(connection, CREDENTIAL, event_of(connection, clock))
    return connection


def event_of(connection: Connection, clock: FakeClock) -> Event:
    """What is recorded of a fetch."""
    return Event("token.released", connection.tenant, clock(), connection.id, client_id="cl_app")


@pytest.mark.parametrize(
    ("options", "refusal", "said"),
    [
        ({"reach": Reach("other", None)}, NotFound, "no such connection"),
        ({"reach": Reach("acme", frozenset({"practice-two"}))}, NotFound, "no such connection"),
        ({"reference_digest": "unknown"}, ReferenceUnknown, "unknown, expired, spent"),
        ({"status": Status.DISABLED}, Conflict, "switched off"),
        ({"status": Status.REVOKED}, ReauthRequired, "disconnected"),
        ({"status": Status.REAUTH_REQUIRED}, ReauthRequired, "authorized again"),
    ],
    ids=["tenant", "provider", "reference", "disabled", "revoked", "reauth_required"],
)
async def test_whoever_may_not_have_it_hears_why(
    heart: Heart,
    stored: Connection,
    clock: FakeClock,
    sandbox: httpx2.Client,
    options: dict[str, Any],
    refusal: type[BrokerError],
    said: str,
) -> None:
    """Each reason has its error, and none makes the provider be asked."""  # S5
    if status := options.pop("status", None):
        await heart.records.annotate(stored, status=status, updated_at=clock())
    with pytest.raises(refusal, match=said) as refused:
        await heart.tokens.fetch(stored.id, event=event_of(stored, clock), **{"reach": REACH, **options})
    assert type(refused.value) is refusal
    assert refreshes(sandbox) == (0, 0)


async def test_a_provider_that_releases_nothing_is_only_used_through_the_proxy(
    heart: Heart, stored: Connection, clock: FakeClock
) -> None:
    """Its tokens stay inside, expired ones are not refreshed for it either, and the answer says where to go."""
    sealed = replace(stored, id=new_id("con"), provider="practice-sealed", access_token_expires_at=1)
    await heart.records.create(sealed, CREDENTIAL, event_of(sealed, clock))
    with pytest.raises(Forbidden, match="proxy"):
        await heart.tokens.fetch(sealed.id, reach=REACH, event=event_of(sealed, clock))


async def test_a_provider_that_is_gone_from_the_file_releases_nothing(
    heart: Heart, stored: Connection, clock: FakeClock
) -> None:
    """Replicas may know different files for a while: one that lacks the entry refuses, and records no release."""  # S7
    orphan = replace(stored, id=new_id("con"), provider="practice-of-old")
    await heart.records.create(orphan, CREDENTIAL, replace(event_of(orphan, clock), type="connection.created"))
    with pytest.raises(NotConfigured):
        await heart.tokens.fetch(orphan.id, reach=REACH, event=event_of(orphan, clock))
    for leaves in (True, False):
        with pytest.raises(NotConfigured):
            await heart.tokens.use(orphan.id, reach=REACH, event=event_of(orphan, clock), leaves=leaves)
    await heart.bookkeeping.settle_all()
    recorded = [event.type for _, event in await heart.journal.of_connection("acme", orphan.id, None, 10)]
    assert recorded == ["connection.created"]


async def test_an_answered_token_is_recorded_with_its_request(
    heart: Heart, stored: Connection, clock: FakeClock
) -> None:
    """The event that was handed in stands in the journal, completed with provider and generation."""
    event = replace(event_of(stored, clock), request_id="req_1")
    await heart.tokens.fetch(stored.id, reach=REACH, event=event)
    await heart.bookkeeping.settle_all()
    recorded = [found for _, found in await heart.journal.of_tenant("acme", None, 10) if found.id == event.id]
    assert recorded == [replace(event, data={"provider": "practice", "generation": 1})]


@pytest.fixture
async def line(sandbox_url: str) -> AsyncIterator[FaultyProxy]:
    """The line to the provider's token endpoint."""
    async with FaultyProxy(sandbox_url.removeprefix("http://")) as line:
        yield line


class TestReferences:
    """References and refreshes that fail."""

    @pytest.fixture
    def providers(self, providers: Registry, sandbox_url: str, line: FaultyProxy) -> Registry:
        """The practice providers, with their token endpoint at the other end of ``line``."""
        endpoints = {
            "authorization_endpoint": f"{sandbox_url}/authorize",
            "token_endpoint": f"http://{line.address}/token",
        }
        return Registry(provider.model_copy(update=endpoints) for provider in providers)

    async def test_a_reference_survives_what_releases_no_token(
        self,
        make_client: MakeClient,
        http: httpx2.AsyncClient,
        sandbox: httpx2.Client,
        line: FaultyProxy,
        clock: FakeClock,
    ) -> None:
        """Another audience and a provider that is down leave it usable; a token spends it."""  # S7
        app, stranger = await make_client(), await make_client("stranger")
        connection = await app.connect(Person(http))
        body = {"audience": app.client_id, "expires_in": 3600}
        issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", body)
        reference = issued.json()["reference"]
        behave(sandbox, access_token_ttl=60)
        await app.fetch(connection["id"], stale_generation=1)
        clock.advance(seconds=61)

        assert (await stranger.redeem(reference)).json()["error"] == "invalid_request"
        await line.cut()
        unavailable = await app.redeem(reference)
        assert (unavailable.status_code, unavailable.json()["error"]) == (503, "temporarily_unavailable")
        assert int(unavailable.headers["Retry-After"]) >= 1
        await line.heal()
        redeemed = await app.redeem(reference)
        assert (redeemed.status_code, redeemed.json()["connection_id"]) == (200, connection["id"])
        spent = await app.redeem(reference)
        assert (spent.status_code, spent.json()["error"]) == (400, "invalid_request")
        assert refreshes(sandbox) == (2, 0)


async def test_a_dead_token_is_not_served_although_a_refresh_came_back(
    heart: Heart, stored: Connection, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover can take back what was just stored: whoever asks is to come again, and gets no expired token."""  # F1

    async def forgotten(*_: object, **__: object) -> None:
        """As if the new credential had been stored in the primary that is gone."""

    monkeypatch.setattr(heart.refresher, "refresh", forgotten)
    clock.advance(seconds=61)
    with pytest.raises(ProviderUnavailable, match="being replaced") as refused:
        await heart.tokens.fetch(stored.id, reach=REACH, event=event_of(stored, clock))
    assert refused.value.retry_after
