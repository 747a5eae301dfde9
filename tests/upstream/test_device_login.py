"""The device grant with both sides real: the calls the heart makes, and the practice provider as a process."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from broker.errors import ProviderBusy, ProviderError, ProviderRefused
from broker.providers.schema import Provider
from broker.upstream.device_grant import DeviceCodes, Waiting
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, provider_at


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """All calls, with nothing private allowed."""
    async with Upstream(Egress(), lambda: NOW) as calls:
        yield calls


@pytest.fixture
def provider(sandbox_url: str) -> Provider:
    """An entry that leaves all endpoints to discovery."""
    return provider_at(
        sandbox_url,
        issuer=sandbox_url,
        authorization_endpoint=None,
        token_endpoint=None,
        client_id="practice-client",
        client_secret="practice-secret",
        grant_types=["authorization_code", "device_code", "refresh_token"],
    )


async def begin(upstream: Upstream, provider: Provider) -> DeviceCodes:
    """A device login for one scope."""
    return await upstream.start_device(provider, {}, scopes=["messages.read"])


async def poll(upstream: Upstream, provider: Provider, codes: DeviceCodes) -> TokenSet | Waiting:
    """One poll of that login."""
    return await upstream.poll_device(provider, {}, device_code=codes.device_code, scopes=["messages.read"])


async def test_a_login_from_code_to_token(
    upstream: Upstream, provider: Provider, sandbox: httpx2.Client, sandbox_url: str
) -> None:
    """All out of one issuer: codes, a poll too many, an approval, tokens that work, a code that is spent."""  # D2
    codes = await begin(upstream, provider)
    assert codes.verification_uri == f"{sandbox_url}/device"
    assert codes.verification_uri_complete == f"{sandbox_url}/device?user_code={codes.user_code}"
    assert (codes.expires_in, codes.interval) == (900, 5)
    assert [await poll(upstream, provider, codes) for _ in range(2)] == [Waiting.PENDING, Waiting.SLOW_DOWN]
    sandbox.post("/control", json={"approve_device": codes.user_code}).raise_for_status()
    tokens = await poll(upstream, provider, codes)
    assert isinstance(tokens, TokenSet)
    assert tokens.scopes == ("messages.read",)
    refreshed = await upstream.refresh(provider, {}, refresh_token=tokens.refresh_token or "", scopes=tokens.scopes)
    bearer = {"authorization": f"Bearer {refreshed.access_token}"}
    assert sandbox.get("/api/messages", headers=bearer).status_code == 200
    with pytest.raises(ProviderRefused) as spent:
        await poll(upstream, provider, codes)
    assert spent.value.error == "invalid_grant"
    counters = sandbox.get("/counters").json()
    assert (counters["metadata"], counters["device_authorization"], counters["early_polls"]) == (1, 1, 3)


async def test_a_login_that_is_denied(upstream: Upstream, provider: Provider, sandbox: httpx2.Client) -> None:
    """By the person."""  # D2
    codes = await begin(upstream, provider)
    sandbox.post("/control", json={"deny_device": codes.user_code}).raise_for_status()
    assert await poll(upstream, provider, codes) is Waiting.DENIED


async def test_a_login_that_nobody_finishes(upstream: Upstream, provider: Provider, sandbox: httpx2.Client) -> None:
    """The provider's clock ends it."""  # D2
    codes = await begin(upstream, provider)
    sandbox.post("/control", json={"clock_ahead": 900}).raise_for_status()
    assert await poll(upstream, provider, codes) is Waiting.EXPIRED


async def test_the_older_name_of_the_address(upstream: Upstream, provider: Provider, sandbox: httpx2.Client) -> None:
    """A provider that still answers in the words of a draft, without a complete address."""
    told = {"verification_uri_name": "verification_url", "device_complete_uri": False, "device_interval": 1}
    sandbox.post("/control", json=told).raise_for_status()
    codes = await begin(upstream, provider)
    assert codes.verification_uri.endswith("/device")
    assert (codes.verification_uri_complete, codes.interval) == (None, 1)


async def test_scopes_beyond_the_device_grant(upstream: Upstream, provider: Provider, sandbox: httpx2.Client) -> None:
    """The provider's own code, so that the caller can take another way."""
    sandbox.post("/control", json={"device_scopes": ["profile"]}).raise_for_status()
    with pytest.raises(ProviderRefused) as refused:
        await begin(upstream, provider)
    assert refused.value.error == "invalid_scope"


async def test_a_provider_without_the_grant(upstream: Upstream, provider: Provider, sandbox: httpx2.Client) -> None:
    """Discovery finds none, and nothing is sent; a written address leads nowhere."""
    sandbox.post("/control", json={"device_grant": False}).raise_for_status()
    with pytest.raises(ProviderError, match="no device authorization endpoint"):
        await begin(upstream, provider)
    assert sandbox.get("/counters").json()["device_authorization"] == 0
    written = provider.model_copy(update={"device_authorization_endpoint": f"{provider.issuer}/device_authorization"})
    with pytest.raises(ProviderError, match="HTTP 404"):
        await begin(upstream, written)


async def test_a_provider_that_wants_patience_has_not_spent_the_code(
    upstream: Upstream, provider: Provider, sandbox: httpx2.Client
) -> None:
    """A 429 is no state of the login, whatever stands in it; the tokens come later."""  # P8
    codes = await begin(upstream, provider)
    sandbox.post(
        "/control", json={"approve_device": codes.user_code, "token_fault": "busy", "faults_left": 1, "retry_after": 3}
    ).raise_for_status()
    with pytest.raises(ProviderBusy) as busy:
        await poll(upstream, provider, codes)
    assert busy.value.retry_after == 3
    assert isinstance(await poll(upstream, provider, codes), TokenSet)
