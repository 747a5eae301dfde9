"""What tests of the services' faces share: a service with every scope, and connections of its own."""

from typing import Any

import httpx2
import pytest

from tests.journey import MakeClient
from tests.observe.capture import logged
from tests.world import Person, ServiceClient

__all__ = ["logged"]


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope, in the tenant ``default``."""
    return await make_client("app")


@pytest.fixture
async def connection(app: ServiceClient) -> dict[str, Any]:
    """A connection of the app itself, made without a browser."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}}
    answer = await app.call("POST", "/v1/connections", body)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


@pytest.fixture
def person(http: httpx2.AsyncClient) -> Person:
    """A person with a browser."""
    return Person(http)
