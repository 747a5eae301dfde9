"""Guessing user codes: refused long before chance helps, counted before anything is looked up, and with an end."""

import asyncio
from http.cookies import SimpleCookie

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.connections.short_code import new_short_code
from broker.observe import metrics
from broker.vault.keyring import Keyring
from tests.machine import MakeMachine
from tests.world import PUBLIC_URL, Person

KEY = [("k1", bytes(range(32)))]
OWN = {"Origin": PUBLIC_URL}


@pytest.fixture
async def code(make_machine: MakeMachine, sandbox: httpx2.Client) -> str:
    """A code that a machine shows."""
    return str((await (await make_machine()).begin())["user_code"])


async def guess(http: httpx2.AsyncClient, code: str | None = None, **headers: str) -> int:
    """Try a code, by default a wrong one, as a browser without cookies; the status."""
    http.cookies.clear()
    form = {"user_code": code or new_short_code()}
    return (await http.post("/device", data=form, headers={**OWN, **headers})).status_code


def counts(store: redis.Redis) -> set[int]:
    """What the counters of user codes say."""
    return {int(store.get(key) or 0) for key in store.keys("broker:count:user_codes*")}


async def test_five_wrong_codes_of_an_address(http: httpx2.AsyncClient, code: str, raw_store: redis.Redis) -> None:
    """Then nothing from there is looked up, not even the right one, whichever way it comes; a minute later it is."""
    # D1
    assert [await guess(http) for _ in range(7)] == [400] * 5 + [429] * 2
    assert await guess(http, code) == 429
    refused = await http.get("/device", params={"user_code": code})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "Too many codes were tried" in refused.text
    assert "Wait a minute" in refused.text
    assert code not in refused.text
    assert (await http.get("/device")).status_code == 200
    [counter] = raw_store.keys("broker:count:user_codes/*")
    raw_store.pexpire(counter, 0)
    assert await guess(http, code) == 200


async def test_many_guesses_at_once(http: httpx2.AsyncClient, code: str, raw_store: redis.Redis) -> None:
    """They are counted before they are looked up, so no more than five learn anything."""
    # D1
    statuses = await asyncio.gather(*(guess(http) for _ in range(40)), guess(http, code))
    assert statuses.count(429) == 36
    assert statuses.count(400) + statuses.count(200) == 5


async def test_right_codes_do_not_count(http: httpx2.AsyncClient, code: str, raw_store: redis.Redis) -> None:
    """Neither shown, nor entered, nor declined; so a person who fails four times still gets in, and out again."""
    # D1
    assert [await guess(http) for _ in range(4)] == [400] * 4
    assert [await guess(http, code) for _ in range(12)] == [200] * 12
    declined = await http.post("/device", data={"user_code": code, "decision": "decline"}, headers=OWN)
    assert declined.status_code == 200
    assert counts(raw_store) == {4, 0}
    assert [await guess(http, code) for _ in range(2)] == [400, 429]


async def test_a_browser_is_counted_beside_its_address(
    heart: Heart, person: Person, code: str, raw_store: redis.Redis
) -> None:
    """Five in ten minutes, from whatever addresses; only by a cookie that we signed."""
    # D1
    await person.broker.get("/device")
    kept = dict(person.broker.cookies)
    statuses = []
    for last in range(7):
        async with browser(heart, f"198.51.100.{last}") as http:
            cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
            statuses.append(await guess(http, Cookie=cookie))
    assert statuses == [400] * 5 + [429] * 2
    [counter] = raw_store.keys("broker:count:user_codes_of_browser/*")
    assert 60_000 < int(raw_store.pttl(counter)) <= 600_000
    async with browser(heart, "198.51.100.99") as http:
        for forged in ("x", f"{kept['device']}x", kept["device"].partition(".")[0], signed("vis_x"), signed(["a"])):
            assert await guess(http, Cookie=f"device={forged}") in {400, 429}
    assert raw_store.keys("broker:count:user_codes_of_browser/*") == [counter]


async def test_all_together(heart: Heart, code: str, raw_store: redis.Redis) -> None:
    """300 wrong ones in five minutes from wherever, then nobody is let look; but the form still opens."""
    # D1
    async with browser(heart, "198.51.100.1") as http:
        assert await guess(http) == 400
        [counter] = raw_store.keys("broker:count:user_codes_of_all/*")
        assert 60_000 < int(raw_store.pttl(counter)) <= 300_000
        raw_store.set(counter, 299, keepttl=True)
        assert await guess(http) == 400
    async with browser(heart, "203.0.113.99") as http:
        refused = await http.get("/device", params={"user_code": code})
        assert refused.status_code == 429
        raw_store.pexpire(counter, 121_000)
        assert "Wait 3 minutes" in (await http.get("/device", params={"user_code": code})).text
        assert (await http.get("/device")).status_code == 200


async def test_a_v6_host_is_one_address(heart: Heart, raw_store: redis.Redis, code: str) -> None:
    """Its /64 counts, for it can take any address of it."""
    # D1
    statuses = []
    for last in range(7):
        async with browser(heart, f"2001:db8:1:2::{last:x}") as http:
            statuses.append(await guess(http))
    assert statuses == [400] * 5 + [429] * 2


async def test_a_flood_leaves_a_counter_each_with_an_end(heart: Heart, raw_store: redis.Redis) -> None:
    """Codes, cookies, handles that nobody gave out: what is kept doesn't grow with them, nor do the series."""
    # F8
    addresses = [f"198.51.100.{i}" for i in range(4)]

    async def flood(times: int) -> None:
        for address in addresses:
            async with browser(heart, address) as http:
                for i in range(times):
                    await guess(http, f"code{i}{address}", Cookie=f"device=made-up-{i}")
                    assert (await http.get(f"/device/logins/made-up-{i}")).status_code == 404

    await flood(2)
    keys = set(raw_store.keys("broker:count:*"))
    series = len(metrics.exposition().splitlines())
    assert len(keys) <= 3 * len(addresses) + 1
    await flood(20)
    assert set(raw_store.keys("broker:count:*")) == keys
    assert all(0 < int(raw_store.pttl(key)) <= 600_000 for key in keys)
    # One more kind: what was refused.
    assert len(metrics.exposition().splitlines()) <= series + 2


@pytest.mark.parametrize("kind", ["pages", "buttons"])
async def test_pages_and_buttons_are_limited_like_all(
    http: httpx2.AsyncClient, raw_store: redis.Redis, kind: str
) -> None:
    """Before anything else, with the same counters as those of connect pages."""
    # F8
    calls = {
        "pages": [("GET", "/device"), ("GET", "/device/logins/x")],
        "buttons": [("POST", "/device"), ("POST", "/device/logins/x")],
    }[kind]
    for call in calls:
        assert (await http.request(*call)).status_code in {200, 404}
    [counter] = raw_store.keys(f"broker:count:{kind}/*")
    assert int(raw_store.get(counter) or 0) == 2
    raw_store.set(counter, 600, keepttl=True)
    for call in calls:
        refused = await http.request(*call)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]


async def test_the_cookie(http: httpx2.AsyncClient, secure_http: httpx2.AsyncClient) -> None:
    """Says nothing but who is counted together: signed, HttpOnly, Lax, whole site, ten minutes; over https Secure and
    ``__Host-``. Looked at again, it is the same browser."""
    # B12
    for client, name, secure in ((http, "device", ""), (secure_http, "__Host-device", True)):
        first, second = [await client.get("/device") for _ in range(2)]
        values = []
        for answer in (first, second):
            (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
            assert morsel.key == name
            assert (morsel["httponly"], morsel["samesite"].lower(), morsel["secure"]) == (True, "lax", secure)
            assert (morsel["path"], morsel["domain"], morsel["max-age"]) == ("/", "", "600")
            values.append(morsel.value.partition(".")[0])
        assert values[0] == values[1]


def browser(heart: Heart, address: str) -> httpx2.AsyncClient:
    """A browser at this address."""
    transport = httpx2.ASGITransport(app_of(heart), client=(address, 4000))
    return httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL)


def signed(value: object) -> str:
    """What we would sign ourselves, though never with this content."""
    return str(Keyring(KEY).serializer("device visitor").dumps(value))
