"""Routes and the host guard."""

import httpx2
import pytest

from tests.sandbox.app import App


@pytest.mark.parametrize("path", ["oauth-authorization-server", "openid-configuration"])
def test_metadata_names_the_issuer_and_its_endpoints(http: httpx2.Client, base_url: str, path: str) -> None:
    """The issuer is the base URL exactly, and every endpoint it names exists (RFC 8414)."""
    metadata = http.get(f"/.well-known/{path}").json()
    assert metadata["issuer"] == base_url
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    endpoints = [value for name, value in metadata.items() if name.endswith("_endpoint")]
    assert len(endpoints) == 6
    assert all(http.get(endpoint).status_code != 404 for endpoint in endpoints)


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "10.0.0.1", "", "[", "192.0.2.1"])
@pytest.mark.parametrize("path", ["/control", "/token", "/nowhere"])
def test_a_rebound_name_gets_nothing(app: App, host: str, path: str) -> None:
    """A Host that isn't loopback is refused before any route sees it."""
    response = app.http.post(path, json={"access_token_ttl": 1}, headers={"Host": host})
    assert response.status_code == 400
    assert app.counters()["token"]["other"] == {"ok": 0, "error": 0}
    assert app.http.post("/control", json={}).json()["access_token_ttl"] == 3600


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:8080", "127.8.8.8:1"])
def test_every_name_of_this_machine_is_answered(http: httpx2.Client, host: str) -> None:
    """Loopback under any of its names and any port is fine."""
    assert http.get("/counters", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/token"), ("GET", "/control"), ("PUT", "/authorize"), ("POST", "/counters")]
)
def test_odd_verbs_are_refused(http: httpx2.Client, method: str, path: str) -> None:
    """405, not an accident."""
    assert http.request(method, path).status_code == 405
