"""Whose account it is, at a provider whose UserInfo endpoint is only known from its metadata."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.connections.authorization import Authorizations, Wanted
from broker.models.account import Account
from broker.models.connection import Fault, Health
from broker.providers import Registry
from broker.upstream.token_response import TokenSet
from tests.journey import MakeClient
from tests.world import Person, ServiceClient


@pytest.fixture
def providers(providers: Registry) -> Registry:
    """The practice providers, whose entries name no whoami."""
    return Registry(provider.model_copy(update={"identity": None}) for provider in providers)


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A client with every scope."""
    return await make_client("app")


def whoamis(sandbox: httpx2.Client) -> int:
    """How often the provider was asked whose token it is."""
    return int(sandbox.get("/counters").json()["whoami"])


async def made_by_itself(app: ServiceClient) -> dict[str, Any]:
    """A connection of the app itself."""
    order = {"provider": "practice", "subject": "robot", "credentials": {}}
    made: dict[str, Any] = (await app.call("POST", "/v1/connections", order)).raise_for_status().json()
    return made


async def status_by_test(app: ServiceClient, connection_id: str) -> str:
    """What a live test says."""
    answer = await app.call("POST", f"/v1/connections/{connection_id}/test")
    return str(answer.raise_for_status().json()["status"])


async def test_a_person_who_did_not_grant_openid_is_connected_all_the_same(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """UserInfo would refuse; so it isn't asked, and the account is unknown."""
    connection = await app.connect(Person(http), scopes=["profile"])
    assert (connection["status"], connection["account"]) == ("active", None)
    assert await status_by_test(app, connection["id"]) == "unknown"
    assert whoamis(sandbox) == 0


@pytest.mark.parametrize("granted", [("openid",), ("profile",)])
async def test_a_person_who_granted_openid_is_known(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart, granted: tuple[str, ...]
) -> None:
    """What was granted counts, not what was asked for: at the connect, and by each test."""
    connection = await app.connect(Person(http))
    token = (await app.fetch(connection["id"])).json()["access_token"]
    wanted = Wanted(
        tenant="default",
        client_id=app.client_id,
        subject="ann",
        provider=heart.providers.get("practice"),
        credential_type="oauth2",
        requested_scopes=["openid", "profile"],
        parameters={},
        label=None,
        metadata={},
    )
    authorizations = Authorizations(heart.records, heart.durability, heart.upstream, heart.clock)
    made = await authorizations.store(wanted, TokenSet(token, None, 3600, granted, asked_at=heart.clock()))
    known = "openid" in granted
    assert made.account == (Account("usr_1001", "alice@practice.example") if known else None)
    assert await status_by_test(app, made.id) == ("healthy" if known else "unknown")
    assert whoamis(sandbox) == 2 * known


async def test_an_app_is_nobody(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """No person took part, so there is nobody to ask about."""
    made = await made_by_itself(app)
    assert made["account"] is None
    assert await status_by_test(app, made["id"]) == "unknown"
    assert whoamis(sandbox) == 0


async def test_a_test_that_asked_nobody_heals_nothing(app: ServiceClient, heart: Heart) -> None:
    """The last failure still stands, and no check is claimed."""
    made = await heart.records.read((await made_by_itself(app))["id"])
    assert made is not None
    failed = Health(consecutive_failures=1, last_error=Fault("provider_error", "it said no", made.created_at))
    assert await heart.records.annotate(made, health=failed, updated_at=made.updated_at)
    assert await status_by_test(app, made.id) == "unknown"
    shown = await heart.records.read(made.id)
    assert shown is not None
    assert shown.health == failed


async def test_what_was_handed_in_unasked_is_not_known_to_work(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """Nobody refreshed it, and nobody could be asked about it."""
    credentials = {"access_token": "of-whom-nobody-knows"}
    body = {"provider": "practice", "subject": "ann", "credentials": credentials, "scopes": ["profile"]}
    made = (await app.call("POST", "/v1/connections", body)).raise_for_status().json()
    assert (made["health"]["status"], made["health"]["last_refreshed_at"]) == ("unknown", None)
    assert whoamis(sandbox) == 0
