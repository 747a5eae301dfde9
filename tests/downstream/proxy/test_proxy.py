"""A provider's API through the proxy, and requests that callers send themselves."""

from typing import Any

import httpx2
import pytest

from tests.world import ServiceClient


@pytest.fixture
async def connection(app: ServiceClient) -> dict[str, Any]:
    """A connection of the practice app itself."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}, "scopes": ["profile", "messages.read"]}
    answer = await app.call("POST", "/v1/connections", body)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


async def test_the_credential_is_put_in(app: ServiceClient, connection: dict[str, Any]) -> None:
    """The caller shows its broker token; the provider sees the connection's."""
    answer = await app.call("GET", f"/proxy/{connection['id']}/messages")
    assert answer.status_code == 200, answer.text
    assert "messages" in answer.json()
    assert answer.headers["broker-connection"] == connection["id"]
    assert answer.headers["content-security-policy"] == "sandbox"


async def test_a_request_that_the_caller_sends(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """What is answered makes the request the connection's."""
    url = f"{sandbox.base_url}/api/messages".replace("//api", "/api")
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/authorization", {"method": "GET", "url": url})
    assert answer.status_code == 200, answer.text
    assert sandbox.get(url, headers=answer.json()["headers"]).status_code == 200
