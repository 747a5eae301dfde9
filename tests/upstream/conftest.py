"""A provider's server, the way out, and entries of ``providers.yaml`` that point at the server."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from broker.providers.schema import Provider
from broker.upstream.egress import Egress
from tests.upstream.practice_server import PracticeServer, practice_server

NOW = 1_700_000_000_000

MakeProvider = Callable[..., Provider]


def provider_at(origin: str, **fields: Any) -> Provider:
    """An entry for a provider at ``origin``, with ``fields`` over the usual."""
    entry = {
        "name": "practice",
        "display_name": "Practice",
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "client_id": "client-one",
        "client_secret": "client-secret-0123456789",
        **fields,
    }
    return Provider.model_validate({key: value for key, value in entry.items() if value is not None})


@pytest.fixture
async def server() -> AsyncIterator[PracticeServer]:
    """A server that a test gives its answers."""
    async with practice_server() as running:
        yield running


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    """The way out as it is by default: nothing private is allowed."""
    out = Egress()
    yield out
    await out.aclose()


@pytest.fixture
def make_provider(server: PracticeServer) -> MakeProvider:
    """Makes entries whose endpoints are at the server."""
    return lambda **fields: provider_at(server.origin, **fields)
