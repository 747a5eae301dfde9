"""A provider that misbehaves while somebody connects: no half connection, and nothing in the way of the next.

What a gateway in between does to it is in ``test_completion_faults``.
"""

from typing import Any

import httpx2
import pytest

from broker.providers import Registry
from tests.connections.caller import REFUSED, UNKNOWN
from tests.connections.practice import behave
from tests.journey import MakeClient, exchanges, session_of
from tests.world import Person, ServiceClient


@pytest.fixture
def providers(providers: Registry) -> Registry:
    """The practice providers with a deadline that a test can wait for."""
    return Registry(provider.model_copy(update={"timeout": 3.0}) for provider in providers)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", [*UNKNOWN, *REFUSED, "invalid_grant"])
async def test_a_fault_at_the_exchange_ends_the_session_and_no_more(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, fault: str, when: str
) -> None:
    """The code is sent once, nobody is connected, and the next session goes its way."""  # P1, P2, P3
    app, person = await make_client(), Person(http)
    opened = await app.open_session()
    code = (await person.connect(opened["connect_url"]))["completion_code"]
    behave(sandbox, token_fault=fault, fault_when=when, faults_left=1)
    failed = await app.complete(opened["id"], code)
    assert failed.status_code == (503 if fault in UNKNOWN else 502)
    assert (await session_of(app, opened["id"]))["status"] == "failed"
    assert (await app.complete(opened["id"], code)).status_code == 409
    assert sum(exchanges(sandbox)) == 1
    assert await connections_of(app) == []
    assert (await app.connect(person))["status"] == "active"


@pytest.mark.parametrize("fault", [*(fault for fault in UNKNOWN if fault != "no_access_token"), "invalid_client"])
async def test_a_fault_at_the_whoami_gives_the_tokens_back(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, fault: str
) -> None:
    """Whose account it is can't be told: no connection, and what was issued is revoked."""  # P1, P2
    app, person = await make_client(), Person(http)
    opened = await app.open_session()
    code = (await person.connect(opened["connect_url"]))["completion_code"]
    behave(sandbox, api_fault=fault, faults_left=1)
    assert (await app.complete(opened["id"], code)).status_code in (502, 503)
    assert (await session_of(app, opened["id"]))["status"] == "failed"
    assert await connections_of(app) == []
    assert sandbox.get("/counters").json()["revoke"] == 1
    assert (await app.connect(person))["status"] == "active"


async def connections_of(app: ServiceClient) -> list[dict[str, Any]]:
    """All that there are."""
    items: list[dict[str, Any]] = (await app.call("GET", "/v1/connections")).json()["items"]
    return items
