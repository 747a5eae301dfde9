"""Authorization server metadata (RFC 8414): what a client needs to find everything else."""

from typing import Any

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.models.access import CLIENT_SCOPES
from broker.providers import Registry
from broker.settings import Settings
from tests.downstream.answers import oauth_error_of
from tests.downstream.oauth.calls import reference_for
from tests.downstream.oauth.conftest import FORM, MakeKeyClient
from tests.machine import DEVICE_CODE, MakeMachine, approve
from tests.signers import Signer, proof
from tests.world import PUBLIC_URL, TOKEN_EXCHANGE, FakeClock, Person, ServiceClient

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PATH = "/.well-known/oauth-authorization-server"


async def test_the_metadata_names_what_there_is(http: httpx2.AsyncClient) -> None:
    """The issuer is the public URL exactly (§3.3), and nothing is promised that is not there."""
    document = (await http.get(PATH)).json()
    assert document["issuer"] == PUBLIC_URL
    assert document["grant_types_supported"] == ["client_credentials", TOKEN_EXCHANGE, DEVICE_CODE, "refresh_token"]
    assert document["scopes_supported"] == list(CLIENT_SCOPES)
    assert document["response_types_supported"] == []
    assert "authorization_endpoint" not in document
    assert "jwks_uri" not in document


@pytest.mark.parametrize("path", ["", "/broker", "/a/b.c"])
async def test_an_issuer_with_a_path_is_found_where_rfc_8414_says(
    settings: Settings, providers: Registry, path: str
) -> None:
    """§3.1: the well-known part stands before the issuer's path. Nothing else answers there."""
    issuer = f"https://broker.example{path}"
    heart = build_heart(settings.model_copy(update={"public_url": issuer}), providers)
    transport = httpx2.ASGITransport(app_of(heart))
    async with httpx2.AsyncClient(transport=transport, base_url="https://broker.example") as http:
        for address in (PATH, f"{PATH}{path}"):
            document = (await http.get(address)).raise_for_status().json()
            assert document["issuer"] == issuer
            assert document["token_endpoint"] == f"{issuer}/oauth/token"
        assert (await http.get(f"{PATH}/elsewhere")).status_code == 404
    await heart.aclose(work_ends_within=1)


ENDPOINTS = ["token", "introspection", "revocation"]
MEMBERS = {
    *("issuer", "grant_types_supported", "response_types_supported", "scopes_supported"),
    *(f"{endpoint}_endpoint" for endpoint in (*ENDPOINTS, "device_authorization")),
    *(f"{endpoint}_endpoint_auth_methods_supported" for endpoint in ENDPOINTS),
    *(f"{endpoint}_endpoint_auth_signing_alg_values_supported" for endpoint in ENDPOINTS),
}
"""What the tests below try, each of them: a member that is added here needs a test that it is true."""


async def test_nothing_is_listed_that_is_not_tried_here(http: httpx2.AsyncClient) -> None:
    """A name that no registry knows, or nobody tried, is a promise to nobody."""
    assert (await http.get(PATH)).json().keys() == MEMBERS


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_every_way_to_authenticate_that_is_listed_works_there(
    http: httpx2.AsyncClient,
    app: ServiceClient,
    key_client: MakeKeyClient,
    make_machine: MakeMachine,
    clock: FakeClock,
    endpoint: str,
) -> None:
    """Each method, and ``private_key_jwt`` with each algorithm; ``none`` is for public clients, where it is listed."""
    document = (await http.get(PATH)).json()
    address = document[f"{endpoint}_endpoint"]
    ways: dict[str, list[dict[str, Any]]] = {
        "client_secret_basic": [{"auth": (app.client_id, app.secret), "data": FORM}],
        "client_secret_post": [{"data": {**FORM, "client_id": app.client_id, "client_secret": app.secret}}],
        "private_key_jwt": [],
    }
    algorithms = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
    assert algorithms
    for algorithm in algorithms:
        signer = Signer.for_algorithm(clock, algorithm)
        client_id = await key_client(jwks=signer.jwks)
        ways["private_key_jwt"].append({"data": {**FORM, **proof(signer.assertion(client_id))}})
    public = {"client_id": (await make_machine()).client_id, **FORM, "grant_type": DEVICE_CODE, "device_code": "x"}
    named = (await http.post(address, data=public)).status_code != 401
    assert named is (endpoint != "introspection")
    assert document[f"{endpoint}_endpoint_auth_methods_supported"] == [*ways, *(["none"] if named else [])]
    for method, calls in ways.items():
        for call in calls:
            answer = await http.post(address, **call)
            assert answer.status_code == 200, (method, answer.text)
    for form in (FORM, {**FORM, "client_id": app.client_id}):
        assert (await http.post(address, data=form)).status_code == 401


async def test_every_grant_and_scope_that_is_listed_works(
    app: ServiceClient, connection: dict[str, Any], make_machine: MakeMachine, heart: Heart
) -> None:
    """And what isn't listed is not there: another grant, another scope."""
    document = (await app.http.get(PATH)).json()
    client_credentials, exchange, device_code, refresh_token = document["grant_types_supported"]
    for scope in document["scopes_supported"]:
        answer = await app.token(grant_type=client_credentials, scope=scope)
        assert (answer.status_code, answer.json()["scope"]) == (200, scope)
    reference = await reference_for(app, connection, app)
    assert exchange == TOKEN_EXCHANGE
    assert (await app.redeem(reference)).status_code == 200
    machine = await make_machine()
    await approve(heart, Person(app.http), (await machine.begin())["user_code"])
    machine.tokens = (await machine.poll(grant_type=device_code)).raise_for_status().json()
    assert (await machine.refresh(grant_type=refresh_token)).status_code == 200
    for grant_type in ("authorization_code", "password", JWT_BEARER):
        assert oauth_error_of(await app.token(grant_type=grant_type, code="x")) == "unsupported_grant_type"
    assert oauth_error_of(await app.token(grant_type=client_credentials, scope="openid")) == "invalid_scope"


async def test_every_endpoint_it_names_answers_and_nothing_is_authorized_here(http: httpx2.AsyncClient) -> None:
    """A 401 is an answer, a 404 would be a lie; with no response type there is no authorization endpoint."""
    document = (await http.get(PATH)).json()
    endpoints = [value for name, value in document.items() if name.endswith("_endpoint")]
    assert len(endpoints) == 4
    for endpoint in endpoints:
        assert endpoint.startswith(PUBLIC_URL)
        assert (await http.post(endpoint, data={"token": "x"})).status_code == 401
    assert document["response_types_supported"] == []
    assert (await http.get("/oauth/authorize")).status_code == 404


async def test_what_a_request_says_of_its_host_changes_nothing(http: httpx2.AsyncClient) -> None:
    """Addresses come from the settings only."""  # B11
    plain = await http.get(PATH)
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    assert (await http.get(PATH, headers=headers)).content == plain.content
