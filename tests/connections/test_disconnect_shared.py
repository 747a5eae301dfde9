"""Where revoking ends the whole grant of a person and an app, no connection takes another one down with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.background.chores import WhatIsDue
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes, revocations
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
ALICE, BOB = "alice@practice.example", "bob@practice.example"


async def connect(app: ServiceClient, http: httpx2.AsyncClient, account: str = ALICE) -> str:
    """A connection at the provider whose revocation ends the grant."""
    connection = await app.connect(Person(http, account), provider="practice-shared")
    return str(connection["id"])


async def disconnect(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """End a connection; answers ``upstream``."""
    answer = await app.call("DELETE", f"/v1/connections/{connection_id}")
    assert answer.status_code == 200, answer.text
    upstream: dict[str, Any] = answer.json()["upstream"]
    return upstream


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A client of the tenant ``acme``."""
    return await make_client(tenant="acme")


async def test_a_sibling_in_another_tenant_is_spared(
    app: ServiceClient, make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The first of two is only ended here, and says so; the second, the last of its account, is revoked."""  # P9
    other = await make_client(tenant="other")
    mine, theirs = await connect(app, http), await connect(other, http)
    upstream = await disconnect(app, mine)
    assert upstream["outcome"] == "skipped_shared"
    assert "another connection" in upstream["detail"]
    assert theirs not in str(upstream)
    assert revocations(sandbox) == 0
    assert (await app.fetch(mine)).status_code == 409
    assert (await other.fetch(theirs, stale_generation=1)).status_code == 200
    assert await disconnect(app, mine) == upstream
    assert (await disconnect(other, theirs))["outcome"] == "revoked"
    assert revocations(sandbox) == 1
    assert await disconnect(app, mine) == upstream


async def test_another_account_of_the_same_app_is_no_sibling(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Bob's connection does not keep Alice's alive at the provider, and lives on itself."""  # P9
    alice, bob = await connect(app, http), await connect(app, http, BOB)
    assert (await disconnect(app, alice))["outcome"] == "revoked"
    assert revocations(sandbox) == 1
    assert (await app.fetch(bob, stale_generation=1)).status_code == 200


async def test_where_only_the_token_ends_a_sibling_is_no_obstacle(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """At a provider that revokes single tokens both are given back, one by one."""
    connections = [(await app.connect(Person(http)))["id"] for _ in range(2)]
    assert (await disconnect(app, connections[0]))["outcome"] == "revoked"
    assert (await app.fetch(connections[1], stale_generation=1)).status_code == 200
    assert revocations(sandbox) == 1


async def test_a_refresh_that_comes_too_late_does_not_end_the_siblings_grant(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Disconnected during a refresh: the new tokens are dropped; revoking them would end the sibling's."""  # P9
    first, second = await connect(app, http), await connect(app, http)
    behave(sandbox, rotation="strict")
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(first, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    assert (await disconnect(app, first))["outcome"] == "skipped_shared"
    let_answers_go(sandbox)
    assert (await caller).status_code == 409
    assert revocations(sandbox) == 0
    assert (await app.fetch(second, stale_generation=1)).status_code == 200


async def test_an_account_that_is_just_being_connected_is_waited_for(
    app: ServiceClient,
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    heart: Heart,
    clock: FakeClock,
) -> None:
    """Disconnected while another tenant redeems a code: undecided, and once it is the same account, spared."""  # P9
    other = await make_client(tenant="other")
    mine = await connect(app, http)
    opened = await other.open_session(provider="practice-shared")
    returned = await Person(http, ALICE).connect(opened["connect_url"])
    hold_answers(sandbox)
    completing = asyncio.create_task(other.complete(opened["id"], returned["completion_code"]))
    await eventually(lambda: sandbox.get("/counters").json()["token"]["authorization_code"]["ok"] == 2)
    assert (await disconnect(app, mine))["outcome"] == "pending"
    let_answers_go(sandbox)
    theirs = (await completing).json()["connection"]["id"]
    clock.advance(seconds=31)
    assert (
        await WhatIsDue(
            heart.due, heart.revocations, heart.giving_back, heart.directory, heart.devices.life, heart.clock
        ).step()
        == 1
    )
    assert (await disconnect(app, mine))["outcome"] == "skipped_shared"
    assert revocations(sandbox) == 0
    assert (await other.fetch(theirs, stale_generation=1)).status_code == 200
