"""What was consented to: asked against granted, authorization by authorization, kept and shown with the connection."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.consent import KEPT, Consent
from broker.vault import names
from tests.connections.practice import behave
from tests.journey import MakeClient
from tests.machine import MakeMachine, approve
from tests.vault.samples import CREDENTIAL, a_connection, an_event
from tests.web.forms import connect as connect_by_form
from tests.world import FakeClock, Person, ServiceClient

ALICE = "alice@practice.example"
ACCOUNT = {"id": "usr_1001", "name": ALICE}


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """The app whose user has an account connected."""
    return await make_client()


@pytest.fixture
def person(http: httpx2.AsyncClient) -> Person:
    """Alice, in a browser of her own."""
    return Person(http, ALICE)


async def through(app: ServiceClient, person: Person, **body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Connect in a browser; answers the session and the connection."""
    opened = await app.open_session(**body)
    returned = await person.connect(opened["connect_url"])
    completed = await app.complete(opened["id"], returned["completion_code"])
    return opened, completed.json()["connection"]


async def shown(app: ServiceClient, connection_id: str) -> list[dict[str, Any]]:
    """The consents of a connection, as the API shows them."""
    answer = await app.call("GET", f"/v1/connections/{connection_id}")
    consents: list[dict[str, Any]] = answer.json()["consents"]
    return consents


async def test_asked_and_granted_stand_beside_each_other(
    app: ServiceClient, person: Person, sandbox: httpx2.Client
) -> None:
    """A person who leaves a box unticked: what was asked for, what was granted, and what is missing; who, when, how."""
    behave(sandbox, granted_scopes=["profile"])
    session, connection = await through(app, person, scopes=["profile", "messages.read"])
    (consent,) = connection["consents"]
    assert consent["requested_scopes"] == ["profile", "messages.read"]
    assert (consent["granted_scopes"], consent["missing_scopes"]) == (["profile"], ["messages.read"])
    assert (consent["session"], consent["means"], consent["client_id"]) == (session["id"], "browser", app.client_id)
    assert (consent["at"], consent["account"]) == (connection["created_at"], ACCOUNT)
    assert await shown(app, connection["id"]) == connection["consents"]
    listed = (await app.call("GET", "/v1/connections")).json()["items"]
    assert listed[0]["consents"] == connection["consents"]


async def test_each_authorization_is_kept(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Renewed with other scopes: the first consent stays as it was, the new one stands before it."""
    first, connection = await through(app, person, scopes=["profile"])
    before = connection["consents"]
    second, renewed = await through(app, person, connection_id=connection["id"], scopes=["profile", "messages.read"])
    assert [consent["session"] for consent in renewed["consents"]] == [second["id"], first["id"]]
    assert renewed["consents"][1:] == before
    assert renewed["consents"][0]["granted_scopes"] == ["profile", "messages.read"]


async def test_a_refresh_is_no_consent(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Whatever a provider answers to a refresh: what the person agreed to doesn't change by it."""
    _, connection = await through(app, person, scopes=["profile", "messages.read"])
    behave(sandbox, granted_scopes=["profile"])
    refreshed = (await app.call("POST", f"/v1/connections/{connection['id']}/refresh")).json()
    assert refreshed["scopes"] == ["profile"]
    assert refreshed["consents"] == connection["consents"]


async def test_how_a_credential_came_is_told(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Handed in on our page by its person, or by a program: each is named, the one with its session."""
    typed = await connect_by_form(app, person, "practice-key", {"api_key": "pk_practice_alice_0001"})
    (consent,) = typed["consents"]
    assert (consent["means"], consent["session"][:3], consent["account"]) == ("form", "cs_", ACCOUNT)
    body = {"provider": "practice-key", "subject": "ann", "credentials": {"api_key": "pk_practice_alice_0001"}}
    made = (await app.call("POST", "/v1/connections", body)).json()
    (consent,) = made["consents"]
    assert (consent["means"], consent["session"], consent["client_id"]) == ("api", None, app.client_id)


async def test_a_machines_login_is_told(
    make_machine: MakeMachine, app: ServiceClient, heart: Heart, person: Person, sandbox: httpx2.Client
) -> None:
    """Through the page of ours that its person approved on, by the client of the machine."""
    machine = await make_machine()
    codes = await machine.begin()
    await approve(heart, person, codes["user_code"])
    (consent,) = await shown(app, (await machine.collect())["connection_id"])
    assert (consent["means"], consent["client_id"], consent["session"][:3]) == ("device", machine.client_id, "cs_")


async def test_a_login_by_the_providers_own_code_is_told(
    make_machine: MakeMachine, app: ServiceClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """There is no session of ours then; the attempt of the machine stands for it."""
    machine = await make_machine()
    codes = await machine.begin("practice-native")
    sandbox.post("/control", json={"approve_device": codes["user_code"]}).raise_for_status()
    clock.advance(seconds=codes["interval"])
    (consent,) = await shown(app, (await machine.collect())["connection_id"])
    assert (consent["means"], consent["client_id"], consent["session"][:3]) == ("device", machine.client_id, "da_")


async def test_the_record_tells_it_too(app: ServiceClient, person: Person, heart: Heart) -> None:
    """The event of an authorization says what was asked, what was granted, and through which session."""
    session, connection = await through(app, person, scopes=["profile"])
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    (told,) = [event["data"] for event in events if event["type"] == "connection.created"]
    assert (told["requested_scopes"], told["scopes"]) == (["profile"], ["profile"])
    assert (told["session"], told["means"]) == (session["id"], "browser")


async def test_it_outlives_the_connection(app: ServiceClient, person: Person) -> None:
    """Disconnected: who had agreed to what can still be read, as long as the record stays."""
    _, connection = await through(app, person)
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert await shown(app, connection["id"]) == connection["consents"]


async def test_what_an_earlier_version_made_says_nothing(
    app: ServiceClient, person: Person, raw_store: redis.Redis
) -> None:
    """Its record lacks the field: no consent is made up, and the next authorization begins the list."""
    _, connection = await through(app, person)
    raw_store.hdel(names.record(connection["id"]), "c")
    assert await shown(app, connection["id"]) == []
    session, renewed = await through(app, person, connection_id=connection["id"])
    assert [consent["session"] for consent in renewed["consents"]] == [session["id"]]


async def test_the_latest_twenty_are_kept(heart: Heart, app: ServiceClient, person: Person) -> None:
    """A connection that is authorized again and again doesn't grow without end."""
    earlier = tuple(Consent(at, "browser", ("profile",), ("profile",), session=f"cs_{at}") for at in range(1, KEPT + 1))
    connection = a_connection(provider="practice", account=None, tenant="default", parameters={})
    connection = replace(connection, consents=earlier)
    await heart.records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    session, renewed = await through(app, person, connection_id=connection.id, allow_account_change=True)
    told = [consent["session"] for consent in renewed["consents"]]
    assert told == [session["id"], *(consent.session for consent in reversed(earlier[1:]))]
