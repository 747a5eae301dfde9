"""The client credentials grant: a broker token, its scopes, its life, and the refusals of RFC 6749 §5.2."""

from io import StringIO

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.models.access import CLIENT_SCOPES
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.downstream.answers import oauth_error_of
from tests.downstream.oauth.calls import introspect
from tests.journey import MakeClient
from tests.world import PUBLIC_URL, FakeClock, ServiceClient


async def test_a_client_gets_a_token_with_all_its_scopes(make_client: MakeClient) -> None:
    """RFC 6749 §5.1: every member, cached by nobody."""
    client = await make_client(scopes=("tokens:read", "connect"))
    answer = await client.token(grant_type="client_credentials")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.pop("access_token").startswith("bat_")
    assert body == {"token_type": "Bearer", "expires_in": 900, "scope": "connect tokens:read"}


async def test_a_subset_of_the_scopes_can_be_asked_for(make_client: MakeClient) -> None:
    """And is all that the token can do."""
    client = await make_client(scopes=CLIENT_SCOPES)
    answer = await client.token(grant_type="client_credentials", scope="connections:read  connect")
    assert answer.json()["scope"] == "connect connections:read"
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await client.http.get("/v1/connections", headers=headers)).status_code == 200
    assert (await client.http.get("/v1/events", headers=headers)).status_code == 403


@pytest.mark.parametrize("scope", ["admin", "connect admin", "connect nothing", "CONNECT", " "])
async def test_a_scope_that_the_client_lacks_is_invalid_scope(make_client: MakeClient, scope: str) -> None:
    """Also one that nobody has, and a list of none."""
    client = await make_client(scopes=("connect",))
    answer = await client.token(grant_type="client_credentials", scope=scope)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_scope")


async def test_scopes_that_are_made_up_are_told_to_the_client_alone(app: ServiceClient, logged: StringIO) -> None:
    """What stands there may be a secret in the wrong place: the log says what is wrong, and not with which value."""
    answer = await app.token(grant_type="client_credentials", scope="planted-secret connect")
    assert "planted-secret" in answer.json()["error_description"]
    assert "the client lacks scopes that were asked for" in logged.getvalue()
    assert "planted-secret" not in logged.getvalue()


@pytest.mark.parametrize(
    "grant_type",
    [
        "password",
        "authorization_code",
        "implicit",
        "Client_Credentials",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:x",
        "client_credentials ",
    ],
)
async def test_another_grant_is_unsupported(app: ServiceClient, grant_type: str) -> None:
    """Neither implicit nor password (RFC 9700 §2); the name is compared exactly."""
    answer = await app.token(grant_type=grant_type, username="ann", password="x")
    assert (answer.status_code, oauth_error_of(answer)) == (400, "unsupported_grant_type")


async def test_each_token_is_a_new_one(app: ServiceClient) -> None:
    """Asking twice makes two, and both work."""
    tokens = {(await app.token(grant_type="client_credentials")).json()["access_token"] for _ in range(3)}
    assert len(tokens) == 3
    for token in tokens:
        answer = await app.http.get("/v1/connections", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


async def test_a_token_survives_a_restart(
    app: ServiceClient, settings: Settings, providers: Registry, clock: FakeClock
) -> None:
    """A second process on the same store accepts it."""
    token = await app.broker_token()
    restarted = build_heart(settings, providers, clock)
    transport = httpx2.ASGITransport(app_of(restarted))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http:
        answer = await http.get("/v1/connections", headers={"Authorization": f"Bearer {token}"})
    await restarted.aclose(work_ends_within=0)
    assert answer.status_code == 200


async def test_a_deleted_clients_token_stops_working(app: ServiceClient, heart: Heart) -> None:
    """As soon as the token is looked at again, which is every moment."""  # S13
    await app.call("GET", "/v1/connections")
    await heart.clients.delete(app.client_id)
    await heart.authenticator.revalidate()
    assert (await app.call("GET", "/v1/connections")).status_code == 401


async def test_a_token_ends(app: ServiceClient, clock: FakeClock) -> None:
    """After as many seconds as the answer said."""
    await app.broker_token()
    clock.advance(seconds=899)
    assert (await app.call("GET", "/v1/connections")).status_code == 200
    clock.advance(seconds=1)
    assert (await app.call("GET", "/v1/connections")).status_code == 401


async def test_a_client_deleted_elsewhere_gets_no_token_from_memory(app: ServiceClient, heart: Heart) -> None:
    """That it proved itself a moment ago is enough for a request, and not for a token that lasts longer."""  # S13
    assert (await introspect(app, "unknown")).status_code == 200
    await heart.store.execute("DEL", names.client(app.client_id))
    assert (await introspect(app, "unknown")).status_code == 200  # within the next seconds
    answer = await app.token(grant_type="client_credentials")
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")
