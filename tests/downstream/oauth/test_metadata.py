"""Authorization server metadata (RFC 8414): what a client needs to find everything else."""

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.models.access import CLIENT_SCOPES
from broker.providers import Registry
from broker.settings import Settings
from tests.world import PUBLIC_URL, TOKEN_EXCHANGE

PATH = "/.well-known/oauth-authorization-server"


async def test_the_metadata_names_what_there_is(http: httpx2.AsyncClient) -> None:
    """The issuer is the public URL exactly (§3.3), and nothing is promised that is not there."""
    document = (await http.get(PATH)).json()
    assert document["issuer"] == PUBLIC_URL
    assert document["grant_types_supported"] == ["client_credentials", TOKEN_EXCHANGE]
    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    assert document["token_endpoint_auth_methods_supported"] == methods
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


async def test_every_endpoint_it_names_answers(http: httpx2.AsyncClient) -> None:
    """A 401 is an answer, a 404 would be a lie."""
    document = (await http.get(PATH)).json()
    endpoints = [value for name, value in document.items() if name.endswith("_endpoint")]
    assert len(endpoints) == 3
    for endpoint in endpoints:
        assert endpoint.startswith(PUBLIC_URL)
        assert (await http.post(endpoint, data={"token": "x"})).status_code == 401


async def test_what_a_request_says_of_its_host_changes_nothing(http: httpx2.AsyncClient) -> None:
    """Addresses come from the settings only."""  # B11
    plain = await http.get(PATH)
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    assert (await http.get(PATH, headers=headers)).content == plain.content
