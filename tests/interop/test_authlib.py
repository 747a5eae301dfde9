"""Authlib does what a service does, by every method of authentication."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from tests.interop.conftest import ASSERTION_TYPE, Live, Service, opens
from tests.world import REFERENCE_TYPE, TOKEN_EXCHANGE


class BriefPrivateKeyJWT(PrivateKeyJWT):  # type: ignore[misc]
    """Signs for a minute. By itself Authlib signs for an hour, and a service's assertion lives for five minutes."""

    def sign(self, auth: Any, token_endpoint: str) -> Any:
        """A new set of claims each time: Authlib keeps the ``jti`` in the one it was given."""
        self.claims = {"exp": int(time.time()) + 60}
        return super().sign(auth, token_endpoint)


def _client_of(service: Service) -> AsyncOAuth2Client:
    client = AsyncOAuth2Client(
        service.client_id,
        service.key or service.secret,
        token_endpoint_auth_method=service.method,
        revocation_endpoint_auth_method=service.method,
        trust_env=False,
    )
    if service.key is not None:
        # The audience is the server's issuer. Left to itself, Authlib takes the endpoint's address.
        method = BriefPrivateKeyJWT(service.issuer, headers={"kid": service.key.kid}, alg="ES256")
        client.register_client_auth_method(method)
    return client


@pytest.fixture
async def authlib(service: Service) -> AsyncIterator[AsyncOAuth2Client]:
    """Authlib's client, with what the service was given."""
    async with _client_of(service) as client:
        yield client


async def _endpoints(client: AsyncOAuth2Client, issuer: str) -> dict[str, str]:
    answer = await client.request("GET", f"{issuer}/.well-known/oauth-authorization-server", withhold_token=True)
    metadata: dict[str, str] = answer.json()
    assert metadata["issuer"] == issuer
    return metadata


async def test_authlib_finds_the_endpoints_gets_a_token_and_calls_the_api(
    authlib: AsyncOAuth2Client, service: Service, live: Live, connection_id: str
) -> None:
    """Client credentials by RFC 6749 §4.4, the bearer token by RFC 6750."""
    endpoints = await _endpoints(authlib, service.issuer)
    token = await authlib.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials", scope="tokens:read")
    assert token["scope"] == "tokens:read"
    fetched = await authlib.post(f"{service.issuer}/v1/connections/{connection_id}/token", json={})
    assert opens(live, fetched.json()["access_token"])
    listed = await authlib.get(f"{service.issuer}/v1/connections")
    assert listed.status_code == 403


async def test_authlib_redeems_a_reference(
    authlib: AsyncOAuth2Client, service: Service, live: Live, reference: str
) -> None:
    """Token exchange by RFC 8693; what comes out works at the provider, what is spent is an error it understands."""
    endpoints = await _endpoints(authlib, service.issuer)
    exchange = {"grant_type": TOKEN_EXCHANGE, "subject_token": reference, "subject_token_type": REFERENCE_TYPE}
    token = await authlib.fetch_token(endpoints["token_endpoint"], **exchange)
    assert opens(live, token["access_token"])
    with pytest.raises(OAuthError) as refused:
        await authlib.fetch_token(endpoints["token_endpoint"], **exchange)
    assert refused.value.error == "invalid_request"


async def test_authlib_introspects_and_revokes(authlib: AsyncOAuth2Client, service: Service, reference: str) -> None:
    """RFC 7662 and RFC 7009, of a reference and of its own broker token."""
    endpoints = await _endpoints(authlib, service.issuer)
    broker_token = await authlib.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials")
    for token in (reference, broker_token["access_token"]):
        asked = await authlib.introspect_token(endpoints["introspection_endpoint"], token=token)
        assert asked.json()["active"] is True
        assert asked.json()["iss"] == service.issuer
        assert (await authlib.revoke_token(endpoints["revocation_endpoint"], token=token)).status_code == 200
        asked = await authlib.introspect_token(endpoints["introspection_endpoint"], token=token)
        assert asked.json() == {"active": False}


async def test_authlib_is_told_that_its_proof_is_wrong(service: Service) -> None:
    """``invalid_client`` (RFC 6749 §5.2), whichever way it authenticates."""
    forged = ECKey.generate_key("P-256", {"kid": "own"}) if service.key else None
    async with _client_of(replace(service, secret="wrong", key=forged)) as client:
        endpoints = await _endpoints(client, service.issuer)
        with pytest.raises(OAuthError) as refused:
            await client.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials")
    assert refused.value.error == "invalid_client"


async def test_a_workload_authenticates_with_what_its_platform_signed(workload: Service, platform_token: str) -> None:
    """No secret anywhere: a library needs to do no more than add two parameters (RFC 7521 §4.2)."""
    vouched = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": platform_token}
    async with AsyncOAuth2Client(workload.client_id, token_endpoint_auth_method="none", trust_env=False) as client:
        endpoints = await _endpoints(client, workload.issuer)
        for _ in range(2):
            token = await client.fetch_token(
                endpoints["token_endpoint"], grant_type="client_credentials", scope="connect", **vouched
            )
            assert token["scope"] == "connect"
