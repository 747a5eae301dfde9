"""Idle connections are tested, no oftener than their entry says, and a provider that is down is left alone."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.background.checking import Checking
from broker.vault import names
from tests.journey import MakeClient
from tests.kinds.cases import ALICE_KEY, created, made_by
from tests.world import FakeClock, Person, ServiceClient

DAY = 86_400


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client("app")


@pytest.fixture
def checking(heart: Heart) -> Checking:
    """The chore as processes run it."""
    return Checking(heart.due, heart.records, heart.lifecycle, heart.providers, heart.clock)


def whoamis(sandbox: httpx2.Client) -> int:
    """How often the provider was asked whose a credential is."""
    asked: int = sandbox.get("/counters").json()["whoami"]
    return asked


async def shown(app: ServiceClient, connection: dict[str, Any]) -> dict[str, Any]:
    """The connection as it is now."""
    return await done(app, "GET", connection)


async def done(
    app: ServiceClient, method: str, connection: dict[str, Any], body: object = None, path: str = ""
) -> dict[str, Any]:
    """What a call about the connection answers, by a broker token of its own: days pass between calls."""
    token = (await app.token(grant_type="client_credentials")).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = await app.http.request(method, f"/v1/connections/{connection['id']}{path}", json=body, headers=headers)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


async def kinds_due(heart: Heart, connection: dict[str, Any]) -> set[str]:
    """What is due of the connection, now or some time."""
    found = await heart.store.execute("ZRANGE", names.due(connection["id"]), 0, -1)
    return {member.decode().partition(":")[0] for member in found if member.decode().endswith(connection["id"])}


async def test_an_idle_connection_is_tested_once_a_day(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Not before, and then not again until the next day. A fetch puts nothing off, for it proves nothing."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    asked = whoamis(sandbox)
    assert connection["health"]["next_check_at"] is not None
    clock.advance(seconds=DAY * 7 / 8 - 60)
    assert (await checking.step(), whoamis(sandbox)) == (0, asked)
    await done(app, "POST", connection, {}, "/token")
    clock.advance(seconds=DAY / 8 + 120)
    assert (await checking.step(), whoamis(sandbox)) == (1, asked + 1)
    after = await shown(app, connection)
    assert after["health"]["status"] == "healthy"
    assert after["health"]["last_checked_at"] > connection["health"]["last_checked_at"]
    assert (await checking.step(), whoamis(sandbox)) == (0, asked + 1)
    clock.advance(seconds=DAY)
    assert (await checking.step(), whoamis(sandbox)) == (1, asked + 2)


async def test_one_that_was_tested_meanwhile_is_put_off(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Its time is counted from then."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    clock.advance(seconds=DAY / 2)
    await done(app, "POST", connection, path="/test")
    asked = whoamis(sandbox)
    clock.advance(seconds=DAY / 4)
    await checking.step()
    clock.advance(seconds=DAY / 4)
    await checking.step()
    assert whoamis(sandbox) == asked


async def test_a_key_that_was_taken_back_is_found_out_and_found_again(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Nobody had to use it; and a provider that took it back by mistake is believed again."""
    key = made_by(sandbox, "api_key")["api_key"]
    connection = await created(app, "practice-key", {"api_key": key})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await checking.step() == 1
    refused = await shown(app, connection)
    assert (refused["status"], refused["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")
    sandbox.post("/control", json={"revoked_keys": None}).raise_for_status()
    clock.advance(seconds=2 * DAY)
    assert await checking.step() == 1
    assert (await shown(app, connection))["status"] == "active"


async def test_a_provider_that_is_down_is_left_alone(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Of many connections only so many are asked about as go at once; none is given up."""  # P2
    made = [await created(app, "practice-key", {"api_key": ALICE_KEY}) for _ in range(30)]
    asked = whoamis(sandbox)
    sandbox.post("/control", json={"api_fault": "status_500"}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await checking.step() == 30
    assert 1 <= whoamis(sandbox) - asked <= 12
    assert {(await shown(app, connection))["status"] for connection in made} == {"active"}
    assert await checking.step() == 0


async def test_what_is_switched_off_or_ended_is_not_tested(
    app: ServiceClient, heart: Heart, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Switched on again, it is due as before."""
    first = await created(app, "practice-key", {"api_key": ALICE_KEY})
    second = await created(app, "practice-key", {"api_key": ALICE_KEY})
    assert await kinds_due(heart, first) == {"check"}
    await done(app, "PATCH", first, {"status": "disabled"})
    await done(app, "DELETE", second)
    assert (await kinds_due(heart, first), await kinds_due(heart, second)) == (set(), {"unlist"})
    asked = whoamis(sandbox)
    clock.advance(seconds=2 * DAY)
    assert (await checking.step(), whoamis(sandbox)) == (0, asked)
    await done(app, "PATCH", first, {"status": "active"})
    assert await kinds_due(heart, first) == {"check"}
    assert (await checking.step(), whoamis(sandbox)) == (1, asked + 1)


async def test_a_claim_of_what_was_switched_off_meanwhile_is_dropped(
    app: ServiceClient, heart: Heart, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Whatever put it there again."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    await done(app, "PATCH", connection, {"status": "disabled"})
    await heart.store.execute("ZADD", names.due(connection["id"]), clock(), f"check:{connection['id']}")
    asked = whoamis(sandbox)
    assert (await checking.step(), whoamis(sandbox)) == (1, asked)
    assert await kinds_due(heart, connection) == set()


async def test_an_idle_grant_is_not_refreshed_to_be_tested(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    checking: Checking,
    clock: FakeClock,
    sandbox: httpx2.Client,
) -> None:
    """Its refreshes are its tests, and how many of them an idle one needs the provider's entry says."""
    connection = await app.connect(Person(http))
    at = (await shown(app, connection))["health"]["next_check_at"]
    await done(app, "POST", connection, path="/refresh")
    assert (await shown(app, connection))["health"]["next_check_at"] == at
    counted = sandbox.get("/counters").json()
    clock.advance(seconds=2 * DAY)
    assert await checking.step() == 1
    assert sandbox.get("/counters").json() == counted
    assert "check" in await kinds_due(heart, connection)


async def test_without_a_whoami_nothing_is_due(app: ServiceClient, heart: Heart) -> None:
    """There is nothing to ask."""
    connection = await created(app, "practice-none", {})
    assert connection["health"]["next_check_at"] is None
    assert await kinds_due(heart, connection) == set()
