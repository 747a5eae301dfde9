"""Authorization server metadata (RFC 8414): what a client needs to find everything else."""

import httpx2

from broker.models.access import CLIENT_SCOPES
from tests.world import PUBLIC_URL, TOKEN_EXCHANGE

PATH = "/.well-known/oauth-authorization-server"


async def test_the_metadata_names_what_there_is(http: httpx2.AsyncClient) -> None:
    """The issuer is the public URL exactly (§3.3), and nothing is promised that is not there."""
    document = (await http.get(PATH)).json()
    assert document["issuer"] == PUBLIC_URL
    assert document["grant_types_supported"] == ["client_credentials", TOKEN_EXCHANGE]
    assert document["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert document["scopes_supported"] == list(CLIENT_SCOPES)
    assert document["response_types_supported"] == []
    assert "authorization_endpoint" not in document
    assert "jwks_uri" not in document


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
