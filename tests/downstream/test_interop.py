"""No library of ours is needed: an OAuth library that knows nothing of the broker does what a service does."""

from typing import Any

import httpx2
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from tests.downstream.oauth.calls import reference_for
from tests.world import PUBLIC_URL, REFERENCE_TYPE, TOKEN_EXCHANGE, ServiceClient


@pytest.fixture(params=["client_secret_basic", "client_secret_post"])
def authlib(app: ServiceClient, request: pytest.FixtureRequest) -> AsyncOAuth2Client:
    """Authlib's client with the app's id and secret, by both ways of authentication."""
    return AsyncOAuth2Client(
        app.client_id,
        app.secret,
        token_endpoint_auth_method=request.param,
        transport=app.http._transport,
        base_url=PUBLIC_URL,
    )


async def _endpoints(client: AsyncOAuth2Client) -> dict[str, str]:
    answer = await client.request("GET", "/.well-known/oauth-authorization-server", withhold_token=True)
    metadata: dict[str, str] = answer.json()
    return metadata


async def test_authlib_finds_the_endpoints_gets_a_token_and_calls_the_api(
    authlib: AsyncOAuth2Client, connection: dict[str, Any]
) -> None:
    """Client credentials by RFC 6749 §4.4, the bearer token by RFC 6750."""
    endpoints = await _endpoints(authlib)
    token = await authlib.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials", scope="tokens:read")
    assert token["scope"] == "tokens:read"
    fetched = await authlib.post(f"/v1/connections/{connection['id']}/token", json={})
    assert fetched.json()["access_token"].startswith("pat_")


async def test_authlib_redeems_a_reference(
    authlib: AsyncOAuth2Client, app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """Token exchange by RFC 8693; what comes out works at the provider, what is spent is an error it understands."""
    endpoints = await _endpoints(authlib)
    exchange = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": await reference_for(app, connection, app),
        "subject_token_type": REFERENCE_TYPE,
    }
    token = await authlib.fetch_token(endpoints["token_endpoint"], **exchange)
    called = sandbox.get("/api/messages", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert called.status_code == 200
    with pytest.raises(OAuthError) as refused:
        await authlib.fetch_token(endpoints["token_endpoint"], **exchange)
    assert refused.value.error == "invalid_request"


async def test_authlib_introspects_and_revokes(
    authlib: AsyncOAuth2Client, app: ServiceClient, connection: dict[str, Any]
) -> None:
    """RFC 7662 and RFC 7009."""
    endpoints = await _endpoints(authlib)
    reference = await reference_for(app, connection, app)
    asked = await authlib.introspect_token(endpoints["introspection_endpoint"], token=reference)
    assert asked.json()["active"] is True
    assert (await authlib.revoke_token(endpoints["revocation_endpoint"], token=reference)).status_code == 200
    asked = await authlib.introspect_token(endpoints["introspection_endpoint"], token=reference)
    assert asked.json() == {"active": False}
