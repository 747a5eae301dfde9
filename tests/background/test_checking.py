"""Idle connections are tested, no oftener than their entry says, and a provider that is down is left alone."""

import asyncio
import json
from collections import Counter
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.background import lanes
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


async def work_off(checking: Checking) -> int:
    """One step, and all that it began; answers how much that was."""
    begun = await checking.step()
    await checking.finish()
    return begun


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
    assert (await work_off(checking), whoamis(sandbox)) == (0, asked)
    await done(app, "POST", connection, {}, "/token")
    clock.advance(seconds=DAY / 8 + 120)
    assert (await work_off(checking), whoamis(sandbox)) == (1, asked + 1)
    after = await shown(app, connection)
    assert after["health"]["status"] == "healthy"
    assert after["health"]["last_checked_at"] > connection["health"]["last_checked_at"]
    assert (await work_off(checking), whoamis(sandbox)) == (0, asked + 1)
    clock.advance(seconds=DAY)
    assert (await work_off(checking), whoamis(sandbox)) == (1, asked + 2)


async def test_one_that_was_tested_meanwhile_is_put_off(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Its time is counted from then."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    clock.advance(seconds=DAY / 2)
    await done(app, "POST", connection, path="/test")
    asked = whoamis(sandbox)
    clock.advance(seconds=DAY / 4)
    await work_off(checking)
    clock.advance(seconds=DAY / 4)
    await work_off(checking)
    assert whoamis(sandbox) == asked


async def test_a_key_that_was_taken_back_is_found_out_and_found_again(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Nobody had to use it; and a provider that took it back by mistake is believed again."""
    key = made_by(sandbox, "api_key")["api_key"]
    connection = await created(app, "practice-key", {"api_key": key})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await work_off(checking) == 1
    refused = await shown(app, connection)
    assert (refused["status"], refused["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")
    sandbox.post("/control", json={"revoked_keys": None}).raise_for_status()
    clock.advance(seconds=2 * DAY)
    assert await work_off(checking) == 1
    assert (await shown(app, connection))["status"] == "active"


async def test_a_provider_that_is_down_is_left_alone(
    app: ServiceClient, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Of many connections only so many are asked about as go at once; none is given up."""  # P2
    made = [await created(app, "practice-key", {"api_key": ALICE_KEY}) for _ in range(30)]
    asked = whoamis(sandbox)
    sandbox.post("/control", json={"api_fault": "status_500"}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await work_off(checking) == 30
    assert 1 <= whoamis(sandbox) - asked <= 12
    assert {(await shown(app, connection))["status"] for connection in made} == {"active"}
    assert await work_off(checking) == 0


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
    assert (await work_off(checking), whoamis(sandbox)) == (0, asked)
    await done(app, "PATCH", first, {"status": "active"})
    assert await kinds_due(heart, first) == {"check"}
    assert (await work_off(checking), whoamis(sandbox)) == (1, asked + 1)


async def test_a_claim_of_what_was_switched_off_meanwhile_is_dropped(
    app: ServiceClient, heart: Heart, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Whatever put it there again."""
    connection = await created(app, "practice-key", {"api_key": ALICE_KEY})
    await done(app, "PATCH", connection, {"status": "disabled"})
    await heart.store.execute("ZADD", names.due(connection["id"]), clock(), f"check:{connection['id']}")
    asked = whoamis(sandbox)
    assert await checking.step() == 1
    await checking.finish()
    assert whoamis(sandbox) == asked
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


@pytest.mark.parametrize("fault", ["status_500", "busy", "html", "cut"])
async def test_an_outage_is_no_news_of_any_connection(
    app: ServiceClient, heart: Heart, checking: Checking, clock: FakeClock, sandbox: httpx2.Client, fault: str
) -> None:
    """Nothing is noted, and soon after it is over everything has been tested."""  # P2
    made = [await created(app, "practice-key", {"api_key": ALICE_KEY}) for _ in range(8)]
    sandbox.post("/control", json={"api_fault": fault}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await work_off(checking) == 8
    assert [await shown(app, connection) for connection in made] == made
    sandbox.post("/control", json={"api_fault": "none"}).raise_for_status()
    clock.advance(seconds=3600)
    # A process that knows of no pause: pauses are real time, which no test waits for.
    again = Checking(heart.due, heart.records, heart.lifecycle, heart.providers, heart.clock)
    assert await work_off(again) == 8
    after = [(await shown(app, connection))["health"] for connection in made]
    assert {health["status"] for health in after} == {"healthy"}
    assert min(health["last_checked_at"] for health in after) > made[0]["health"]["last_checked_at"]


async def test_what_failed_is_tested_again_sooner_each_time_later(
    app: ServiceClient, heart: Heart, checking: Checking, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """At first after a quarter of an hour, and once a day at last."""
    key = made_by(sandbox, "api_key")["api_key"]
    connection = await created(app, "practice-key", {"api_key": key})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    waits = []
    for _ in range(9):
        assert await work_off(checking) == 1
        score = await heart.store.execute("ZSCORE", names.due(connection["id"]), f"check:{connection['id']}")
        waits.append((float(score) - heart.clock()) / 60_000)
        clock.advance(seconds=waits[-1] * 60 + 1)
    assert waits[0] <= 15
    assert all(before < after < 5 * before for before, after in pairwise(waits[:7])), waits
    assert all(1440 * 7 / 8 <= wait <= 1440 for wait in waits[7:]), waits
    sandbox.post("/control", json={"revoked_keys": None}).raise_for_status()
    assert await work_off(checking) == 1
    assert (await shown(app, connection))["health"]["consecutive_failures"] == 0


async def test_a_provider_that_is_slow_holds_up_no_other(
    app: ServiceClient,
    heart: Heart,
    checking: Checking,
    clock: FakeClock,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step is over before it has answered; what finds no place in line is told when to come again."""
    monkeypatch.setattr(lanes, "_UNKNOWN", 1)  # as many in line as there are places
    made = [await created(app, "practice-key", {"api_key": ALICE_KEY}) for _ in range(40)]
    asked = whoamis(sandbox)
    sandbox.post("/control", json={"api_fault": "hang"}).raise_for_status()
    clock.advance(seconds=DAY + 60)
    assert await checking.step() == 40

    async def in_line() -> int:
        """Those whose claim stands: it runs out for all of them at the same moment."""
        found = [
            await heart.store.execute("ZSCORE", names.due(connection["id"]), f"check:{connection['id']}")
            for connection in made
        ]
        return Counter(found).most_common(1)[0][1]

    async with asyncio.timeout(60):
        while await in_line() > 24:
            pass
    assert await in_line() == 24
    await checking.aclose()
    assert whoamis(sandbox) - asked <= 12
    assert [await shown(app, connection) for connection in made] == made


async def test_a_test_switches_nothing_on_that_was_switched_off_meanwhile(
    app: ServiceClient, heart: Heart, sandbox: httpx2.Client
) -> None:
    """The answer of the provider comes too late for that, and nothing becomes due."""
    key = made_by(sandbox, "api_key")["api_key"]
    connection = await created(app, "practice-key", {"api_key": key})
    sandbox.post("/control", json={"revoked_keys": [key]}).raise_for_status()
    with pytest.raises(httpx2.HTTPStatusError):
        await done(app, "POST", connection, path="/test")
    before = await heart.records.read(connection["id"])
    assert before is not None
    await done(app, "PATCH", connection, {"status": "disabled"})
    sandbox.post("/control", json={"revoked_keys": None}).raise_for_status()
    await heart.lifecycle.test(before, request_id=None)
    assert (await shown(app, connection))["status"] == "disabled"
    assert await kinds_due(heart, connection) == set()


@pytest.mark.parametrize("path", ["/refresh", "/test"])
async def test_a_connection_of_an_earlier_version_is_tested_from_its_next_write_on(
    app: ServiceClient, heart: Heart, path: str
) -> None:
    """Nothing said when; a write that finds it so says it, and the next one doesn't put it off."""
    connection = await created(app, "practice", {})
    entry = f"check:{connection['id']}"
    await heart.store.execute("ZREM", names.due(connection["id"]), entry)
    health = (await heart.store.execute("HGET", names.record(connection["id"]), "h")).decode()
    older = {name: value for name, value in json.loads(health).items() if name != "k"}
    await heart.store.execute("HSET", names.record(connection["id"]), "h", json.dumps(older, separators=(",", ":")))
    await done(app, "POST", connection, path=path)
    first = await heart.store.execute("ZSCORE", names.due(connection["id"]), entry)
    assert float(first) > heart.clock()
    await done(app, "POST", connection, path=path)
    assert await heart.store.execute("ZSCORE", names.due(connection["id"]), entry) == first
