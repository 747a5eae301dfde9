"""Floods of what anybody may call: refused by a page that says when, and nothing grows with what was made up."""

import gc
import itertools
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.models.ids import bearing_secret, new_id, new_secret
from broker.observe import metrics
from broker.providers import Registry
from broker.settings import Settings
from tests.journey import MakeClient, session_of
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient, parameters_of

ADDRESSES = 20
COUNTED = {"pages": 600, "buttons": 120, "returns": 600}


def made_up() -> dict[str, tuple[str, str]]:
    """A call of each kind with names that nobody gave out."""
    handle, state = bearing_secret("ch", new_id("cs")), bearing_secret("st", new_id("cs"))
    return {
        "page": ("GET", f"/connect/{handle}"),
        "button": ("POST", f"/connect/{handle}"),
        "code": ("GET", f"/connect/{new_id('cs')}/code"),
        "return": ("GET", f"/callback/practice?state={state}&code={new_secret()}"),
    }


@pytest.fixture
def everywhere(heart: Heart) -> list[httpx2.AsyncClient]:
    """The same broker, called from many addresses."""
    app = app_of(heart)
    return [
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(f"198.51.100.{i}", 4000)), base_url=PUBLIC_URL)
        for i in range(ADDRESSES)
    ]


@pytest.mark.parametrize(("kind", "a_minute"), [("page", 600), ("button", 120), ("code", 600), ("return", 600)])
async def test_a_flood_is_answered_by_a_page_that_says_when(
    http: httpx2.AsyncClient, raw_store: redis.Redis, kind: str, a_minute: int
) -> None:
    """429 with Retry-After (RFC 6585 §4), in words a person understands, framed by nobody."""  # F8
    for passed in (1, a_minute):
        assert (await http.request(*made_up()[kind])).status_code in {400, 403, 404}
        [counter] = raw_store.keys("broker:count:*")
        assert int(raw_store.get(counter) or 0) == passed
        raw_store.set(counter, a_minute - 1 if passed == 1 else a_minute, keepttl=True)
    refused = await http.request(*made_up()[kind])
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["content-type"].startswith("text/html")
    assert "Too many requests" in refused.text
    assert "203.0.113.7" not in refused.text
    assert "frame-ancestors 'none'" in refused.headers["content-security-policy"]
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["x-request-id"] in refused.text
    # Services behind the same address are not asked to wait, nor is what costs nothing.
    assert (await http.get("/livez")).status_code == 200
    assert (await http.get("/.well-known/oauth-authorization-server")).status_code == 200


async def test_who_was_refused_on_the_way_back_loses_nothing(
    make_client: MakeClient, sandbox: httpx2.Client, raw_store: redis.Redis, http: httpx2.AsyncClient
) -> None:
    """The provider's answer is not taken in before the limit: the same page works a minute later."""
    app, person = await make_client(), Person(http)
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    await http.get("/callback/practice?state=x")
    [counter] = raw_store.keys("broker:count:returns/*")
    raw_store.set(counter, 600, keepttl=True)
    assert (await person.arrive(callback)).status_code == 429
    assert (await session_of(app, opened["id"]))["status"] == "authorizing"
    raw_store.pexpire(counter, 0)
    arrived = await person.arrive(callback)
    assert arrived.status_code == 303
    assert parameters_of(arrived.headers["location"])["completion_code"]


async def test_nothing_grows_with_what_was_made_up(
    everywhere: list[httpx2.AsyncClient], raw_store: redis.Redis
) -> None:
    """Thousands of handles, states, sessions, clients and tokens: a counter per address and kind, each with an end; the
    same series; no more objects in the process."""  # F8
    caller = itertools.cycle(everywhere)

    async def flood(times: int) -> None:
        for _ in range(times):
            calls: list[tuple[str, str, dict[str, Any]]] = [(*call, {}) for call in made_up().values()]
            calls.append(("GET", f"/{new_secret('x')}", {}))
            calls.append(("GET", "/v1/clients", {"headers": {"Authorization": f"Bearer {new_secret('bat')}"}}))
            for method, address, options in calls:
                assert (await next(caller).request(method, address, **options)).status_code < 500

    async def footprint() -> tuple[int, int]:
        gc.collect()
        return len(gc.get_objects()), len(_series())

    await flood(ADDRESSES)
    objects, series = await footprint()
    keys = set(raw_store.keys("broker:count:*"))
    assert len(keys) <= 4 * ADDRESSES
    await flood(400)
    after = await footprint()
    assert set(raw_store.keys("broker:count:*")) == keys
    assert all(0 < int(raw_store.pttl(key)) <= 60_000 for key in keys)
    assert after[1] == series
    assert after[0] - objects < 400


@pytest.mark.parametrize("trusted", [True, False])
async def test_callers_behind_a_trusted_proxy_are_counted_apart(
    settings: Settings, providers: Registry, clock: FakeClock, raw_store: redis.Redis, trusted: bool
) -> None:
    """By the address that the proxy vouches for; a header that nobody vouches for is no way around the limit."""  # F8
    proxies = (ip_network("10.0.0.0/8"),) if trusted else ()
    heart = build_heart(settings.model_copy(update={"trusted_proxies": proxies}), providers, clock)
    transport = httpx2.ASGITransport(app_of(heart), client=("10.0.0.1", 4000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http:
        statuses = []
        for i in range(122):
            headers = {"X-Forwarded-For": f"198.51.100.{i % 2}"}
            statuses.append((await http.request(*made_up()["button"], headers=headers)).status_code)
    await heart.aclose(work_ends_within=5)
    assert statuses.count(429) == (0 if trusted else 2)
    assert len(raw_store.keys("broker:count:*")) == (2 if trusted else 1)


async def test_made_up_names_are_in_no_key(everywhere: list[httpx2.AsyncClient], raw_store: redis.Redis) -> None:
    """Nor is anything else kept of a call that nobody vouches for."""  # F8
    await everywhere[0].get("/readyz")  # the store knows its keyring from then on
    before = set(map(str, raw_store.keys("*")))
    for method, address in made_up().values():
        await everywhere[0].request(method, address)
    counted = set(map(str, raw_store.keys("*"))) - before
    assert counted == {f"b'broker:count:{kind}/198.51.100.0/{limit}/1'" for kind, limit in COUNTED.items()}


async def test_without_a_store_a_page_is_503_and_not_429(heart: Heart, http: httpx2.AsyncClient) -> None:
    """The page asks the store itself, and says what it finds."""
    await heart.store.aclose()
    for method, address in made_up().values():
        answer = await http.request(method, address)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


async def test_the_apps_own_calls_are_not_counted(
    make_client: MakeClient, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """A service that fetches as often as it likes leaves no counter."""
    app: ServiceClient = await make_client()
    made = (
        await app.call("POST", "/v1/connections", {"provider": "practice", "subject": "ann", "credentials": {}})
    ).json()
    for _ in range(130):
        assert (await app.fetch(made["id"])).status_code == 200
    assert raw_store.keys("broker:count:*") == []


def _series() -> set[str]:
    return {line.rpartition(" ")[0] for line in metrics.exposition().decode().splitlines()}
