"""A service with every scope, at a broker and a practice provider that are as at the start."""

import httpx2
import pytest

from tests.journey import MakeClient
from tests.world import ServiceClient


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client("app")
