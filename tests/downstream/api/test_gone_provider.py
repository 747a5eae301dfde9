"""Connections whose provider is missing in this broker's file: 503 for whatever needs it, and nothing is lost by it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.providers import Registry
from broker.settings import Settings
from tests.documented import Documented
from tests.journey import MakeClient, snapshot
from tests.kinds.cases import ALICE_KEY, created
from tests.kinds.test_standing_in import pair
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

DETAIL = "the providers file of this broker has no entry for this connection's provider"
Without = Callable[..., Any]
Asked = tuple[str, str, Any]
BY_ID: list[Asked] = [
    ("POST", "/v1/connections/{id}/token", {}),
    ("POST", "/v1/connections/{id}/token", {"stale_generation": 1}),
    ("POST", "/v1/connections/{id}/authorization", {"method": "GET", "url": "https://api.example/mails"}),
    ("GET", "/proxy/{id}/whoami", None),
    ("POST", "/v1/connections/{id}/references", {"audience": ""}),
    ("POST", "/v1/connections/{id}/refresh", None),
    ("POST", "/v1/connections/{id}/test", None),
    ("PATCH", "/v1/connections/{id}", {"credentials": {"api_key": ALICE_KEY}}),
]


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client()


@pytest.fixture
async def elsewhere(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Without]:
    """``elsewhere(app, "practice")``: the app at a broker on the same store whose file lacks that entry."""
    opened = []

    async def without(app: ServiceClient, name: str) -> ServiceClient:
        heart = build_heart(settings, Registry(entry for entry in providers if entry.name != name), clock)
        transport = httpx2.ASGITransport(Documented(app_of(heart)))
        http = httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL)
        opened.append((heart, http))
        client = ServiceClient(http, app.client_id, app.secret)
        await client.broker_token()
        return client

    yield without
    for heart, http in opened:
        await http.aclose()
        await heart.aclose(work_ends_within=2)


def is_unavailable(answer: httpx2.Response) -> bool:
    """Whether the app hears that it is not its user's connection that is gone."""
    told = (answer.status_code, answer.headers.get("retry-after"))
    return told == (503, "60") and (answer.json()["code"], answer.json()["detail"]) == ("provider_unavailable", DETAIL)


@pytest.mark.parametrize(("method", "path", "body"), BY_ID, ids=lambda part: part if isinstance(part, str) else "")
async def test_nobody_is_told_that_the_connection_is_gone(
    app: ServiceClient,
    elsewhere: Without,
    http: httpx2.AsyncClient,
    raw_store: redis.Redis,
    method: str,
    path: str,
    body: Any,
) -> None:
    """Another broker's file, or the next one, may have the entry: try again. Nothing is written meanwhile."""  # S7 F1
    connection = await app.connect(Person(http))
    poorer, before = await elsewhere(app, "practice"), snapshot(raw_store)
    if body and "audience" in body:
        body = {"audience": app.client_id}
    answer = await poorer.call(method, path.format(id=connection["id"]), body)
    assert is_unavailable(answer), answer.text
    assert snapshot(raw_store) == before
    assert (await app.fetch(connection["id"])).status_code == 200


async def test_a_reference_is_not_spent(app: ServiceClient, elsewhere: Without, http: httpx2.AsyncClient) -> None:
    """At the token endpoint it is ``temporarily_unavailable``; the reference is good once the entry is back."""  # S7
    connection = await app.connect(Person(http))
    issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id})
    poorer = await elsewhere(app, "practice")
    refused = await poorer.redeem(issued.json()["reference"])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
    assert (refused.json()["error"], refused.json()["error_description"]) == ("temporarily_unavailable", DETAIL)
    assert (await app.redeem(issued.json()["reference"])).status_code == 200


async def test_what_needs_no_provider_works_on(
    app: ServiceClient, elsewhere: Without, http: httpx2.AsyncClient
) -> None:
    """It is shown, noted on, switched off, and disconnected: what it held is given back once the entry is there."""
    connection = await app.connect(Person(http))
    poorer, path = await elsewhere(app, "practice"), f"/v1/connections/{connection['id']}"
    assert (await poorer.call("GET", path)).json()["status"] == "active"
    assert (await poorer.call("PATCH", path, {"label": "old", "status": "disabled"})).json()["label"] == "old"
    ended = await poorer.call("DELETE", path)
    assert (ended.status_code, ended.json()["upstream"]["outcome"]) == (200, "pending")


async def test_nobody_can_judge_whether_one_may_stand_in(app: ServiceClient, elsewhere: Without) -> None:
    """Neither for the connection whose provider is missing nor by it; and nothing is changed."""
    first = await created(app, "practice-key", {"api_key": ALICE_KEY})
    second = await created(app, "practice-key-sealed", {"api_key": ALICE_KEY})
    poorer = await elsewhere(app, "practice-key-sealed")
    for one, other in ((first, second), (second, first)):
        answer = await poorer.call("PATCH", f"/v1/connections/{one['id']}", {"fallback": other["id"]})
        assert is_unavailable(answer), answer.text
        assert (await app.call("GET", f"/v1/connections/{one['id']}")).json()["fallback"] is None


async def test_that_a_person_is_needed_is_said_though_the_other_one_can_not_serve(
    app: ServiceClient, elsewhere: Without, sandbox: httpx2.Client
) -> None:
    """Its fallback's entry may never come back; where its own is missing, to connect again would be in vain."""
    first, _ = await pair(app, sandbox, "practice-key-sealed")
    without_fallback = await elsewhere(app, "practice-key-sealed")
    answer = await without_fallback.call("GET", f"/proxy/{first}/whoami")
    assert (answer.status_code, answer.json()["code"]) == (409, "reauth_required")
    without_own = await elsewhere(app, "practice-key")
    assert is_unavailable(await without_own.call("GET", f"/proxy/{first}/whoami"))
