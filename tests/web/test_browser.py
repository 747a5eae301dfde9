"""Tests of :mod:`broker.web.browser`: whose cookie counts, for how long, and whose form."""

import time
from http.cookies import Morsel, SimpleCookie

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from broker.models.ids import new_id, new_secret
from broker.vault.keyring import Keyring
from broker.web.browser import BrowserBinding
from tests.journey import session_of
from tests.web.conftest import SECURE_URL
from tests.world import PUBLIC_URL, Person, ServiceClient, parameters_of

KEYS = [("k1", bytes(range(32)))]
SESSION, SECRET = new_id("cs"), new_secret()


def binding(keys: list[tuple[str, bytes]] = KEYS) -> BrowserBinding:
    """The binding of a broker with these keys."""
    return BrowserBinding(Keyring(keys), secure=True, origin="https://broker.example")


def bound(session_id: str = SESSION) -> tuple[str, str]:
    """Name and value of the cookie that binds a browser to the session."""
    response = Response()
    binding().bind(response, session_id, SECRET)
    (morsel,) = SimpleCookie(response.headers["set-cookie"]).values()
    return morsel.key, morsel.value


def bringing(name: str, value: str) -> Request:
    """A request that brings this cookie."""
    return Request({"type": "http", "headers": [(b"cookie", f"{name}={value}".encode())]})


def cookie_in(answer: httpx2.Response) -> Morsel[str]:
    """The one cookie that an answer sets."""
    (header,) = answer.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(header).values()
    return morsel


def test_the_cookie_gives_the_secret_back() -> None:
    """To the broker that signed it, and to one whose ring still has the key."""
    request = bringing(*bound())
    assert binding().secret(request, SESSION) == SECRET
    assert binding([("k2", bytes(32)), *KEYS]).secret(request, SESSION) == SECRET
    assert binding([("k2", bytes(32))]).secret(request, SESSION) is None


def test_the_cookie_of_another_session_is_none() -> None:
    """Under its own name it isn't looked at, and under another's its content gives it away."""
    # B1
    name, _ = bound()
    other_name, other_value = bound(new_id("cs"))
    assert name != other_name
    assert binding().secret(bringing(other_name, other_value), SESSION) is None
    assert binding().secret(bringing(name, other_value), SESSION) is None


@pytest.mark.parametrize("forged", ["", "x", "a.b.c", "{value}x", "{unsigned}", "{unsigned}.."])
def test_a_forged_cookie_is_none(forged: str) -> None:
    """What we didn't sign doesn't count, and disturbs nobody."""
    # B1
    name, value = bound()
    tried = forged.format(value=value, unsigned=value.partition(".")[0])
    assert binding().secret(bringing(name, tried), SESSION) is None


def test_a_cookie_is_good_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a browser keeps it longer."""
    # B12
    now = time.time()
    cookies = {}
    for age in (599, 602):
        monkeypatch.setattr(time, "time", lambda age=age: now - age)
        cookies[age] = bound()
    monkeypatch.setattr(time, "time", lambda: now)
    assert binding().secret(bringing(*cookies[599]), SESSION) == SECRET
    assert binding().secret(bringing(*cookies[602]), SESSION) is None


@pytest.mark.parametrize(("seconds", "lives"), [(300, 300), (3600, 600)])
def test_a_cookie_may_live_shorter_and_never_longer(seconds: int, lives: int) -> None:
    """Ten minutes is the most, whatever is asked for."""
    # B12
    response = Response()
    binding().bind(response, SESSION, SECRET, seconds=seconds)
    (morsel,) = SimpleCookie(response.headers["set-cookie"]).values()
    assert morsel["max-age"] == str(lives)


async def test_cookie_over_https(app: ServiceClient, secure_http: httpx2.AsyncClient) -> None:
    """``__Host-``, Secure, HttpOnly, Lax, whole site, ten minutes; taken back with the same attributes."""
    # B12
    opened = await ServiceClient(secure_http, app.client_id, app.secret).open_session()
    assert opened["connect_url"].startswith(f"{SECURE_URL}/connect/")
    person = Person(secure_http)
    left = await person.press(opened["connect_url"], headers={"Origin": SECURE_URL})
    cookie = cookie_in(left)
    assert cookie.key.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"].lower()) == (True, True, "lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", "600")
    asked = parameters_of(left.headers["location"])
    assert asked["redirect_uri"] == f"{SECURE_URL}/callback/practice"
    answer = f"{SECURE_URL}/callback/practice?error=access_denied&state={asked['state']}&iss="
    taken_back = cookie_in(await person.arrive(answer + left.headers["location"].partition("/authorize")[0]))
    assert taken_back.key == cookie.key
    assert (taken_back["max-age"], taken_back["secure"], taken_back["path"]) == ("0", True, "/")


async def test_cookie_over_plain_http(app: ServiceClient, person: Person) -> None:
    """On loopback neither Secure nor ``__Host-``, which browsers would not take; the rest is the same."""
    # B12
    cookie = cookie_in(await person.press((await app.open_session())["connect_url"]))
    assert not cookie.key.startswith("__")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"].lower()) == ("", True, "lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", "600")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8401"},
        {"Origin": "https://localhost:8400"},
        {"Origin": f"{PUBLIC_URL}.evil.example"},
        {"Origin": PUBLIC_URL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": PUBLIC_URL, "Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("decision", ["continue", "cancel"])
async def test_a_form_of_another_site_is_refused(
    app: ServiceClient, person: Person, headers: dict[str, str], decision: str
) -> None:
    """Another site's page can neither start nor cancel: 403, no cookie, and the session is untouched."""
    # B13
    opened = await app.open_session()
    refused = await person.press(opened["connect_url"], decision, headers=dict(headers))
    assert refused.status_code == 403
    assert "location" not in refused.headers
    assert "set-cookie" not in refused.headers
    assert (await session_of(app, opened["id"]))["status"] == "pending"
