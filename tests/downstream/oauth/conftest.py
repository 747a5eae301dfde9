"""What tests of client authentication share: clients without a secret, and a network that they can be fetched from."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.models.access import CLIENT_SCOPES, Workload
from broker.settings import Settings
from tests.downstream.answers import oauth_error_of
from tests.signers import Signer
from tests.upstream.practice_server import PracticeServer, practice_server
from tests.world import FakeClock

FORM = {"grant_type": "client_credentials", "token": "x"}
"""Enough for each of the three endpoints."""

MakeKeyClient = Callable[..., Awaitable[str]]
"""The ``key_client`` fixture."""

Show = Callable[..., Awaitable[httpx2.Response]]
"""The ``show`` fixture."""


@pytest.fixture
def key_client(heart: Heart) -> MakeKeyClient:
    """Registers a client that has no secret, but the keys or workloads that are given; answers its id."""

    async def make(workloads: Sequence[Mapping[str, Any]] = (), **keys: Any) -> str:
        programs = [Workload(**workload) for workload in workloads]
        client, _ = await heart.clients.create("keys", scopes=CLIENT_SCOPES, workloads=programs, **keys)
        return client.client_id

    return make


@pytest.fixture
def show(http: httpx2.AsyncClient) -> Show:
    """Authenticates with the given parameters at one of the endpoints."""

    async def call(parameters: dict[str, str], path: str = "/oauth/token", **options: Any) -> httpx2.Response:
        return await http.post(path, data={**FORM, **parameters}, **options)

    return call


@pytest.fixture
def loopback_allowed(settings: Settings) -> Settings:
    """Settings with which fetched addresses may be on this machine."""
    return settings.model_copy(update={"egress_allow": (ip_network("127.0.0.0/8"),)})


@pytest.fixture
async def publisher() -> AsyncIterator[PracticeServer]:
    """A server that publishes what a test says."""
    async with practice_server() as running:
        yield running


@pytest.fixture
def signer(clock: FakeClock) -> Signer:
    """Somebody with a key."""
    return Signer(clock)


@pytest.fixture
async def client_id(key_client: MakeKeyClient, signer: Signer) -> str:
    """A client that registered it."""
    return await key_client(jwks=signer.jwks)


async def refused(show: Show, parameters: dict[str, str], path: str = "/oauth/token") -> httpx2.Response:
    """The answer, which must be the one refusal that there is."""
    answer = await show(parameters, path)
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client"), answer.text
    assert answer.json()["error_description"] == "client authentication failed"
    assert "www-authenticate" not in answer.headers
    return answer
