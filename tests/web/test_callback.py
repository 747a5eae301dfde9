"""Tests of :mod:`broker.web.callback`: whose answer is believed, which is not, and what was never sent."""

import asyncio
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from tests.journey import NOTHING, MakeClient, exchanges, session_of
from tests.world import RETURN_URL, FakeClock, Person, ServiceClient, parameters_of


def altered(callback_url: str, **changes: str | None) -> str:
    """The provider's answer with parameters changed, added or (``None``) left out."""
    parts = urlsplit(callback_url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    kept = urlencode({name: value for name, value in query.items() if value is not None})
    return parts._replace(query=kept).geturl()


async def test_only_the_browser_that_left_may_come_back(
    app: ServiceClient, http: httpx2.AsyncClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Without its cookie the answer is refused and nothing is sent; the right browser can still bring it."""
    # B1
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    refused = await Person(http).arrive(callback)
    assert refused.status_code == 403
    assert "Nothing was connected" in refused.text
    assert "location" not in refused.headers
    assert (await session_of(app, opened["id"]))["status"] == "authorizing"
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 303


@pytest.mark.parametrize("forged", ["of another session", "unsigned", "empty"])
async def test_the_cookie_is_bound_to_its_session(
    app: ServiceClient, http: httpx2.AsyncClient, person: Person, sandbox: httpx2.Client, forged: str
) -> None:
    """A cookie signed for another session, or by nobody, is none, whatever name it travels under."""
    # B1
    opened = await app.open_session(completion="browser")
    callback = await person.approve(opened["connect_url"])
    ((name, own),) = person.broker.cookies.items()
    attacker = Person(http)
    await attacker.press((await app.open_session())["connect_url"])
    (of_another,) = attacker.broker.cookies.values()
    value = {"of another session": of_another, "unsigned": own.partition(".")[0], "empty": ""}[forged]
    refused = await Person(http).arrive(callback, headers={"Cookie": f"{name}={value}"})
    assert refused.status_code == 403
    assert exchanges(sandbox) == NOTHING


@pytest.mark.parametrize("state", [None, "", "st_x", f"st_{22 * 'a'}_{43 * 'b'}", "other secret", "handle"])
async def test_an_unknown_state_is_refused(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, state: str | None
) -> None:
    """No state, a made-up one, one with another session's secret: 400, and the session waits on."""
    # B2
    opened, other = await app.open_session(), await app.open_session()
    callback = await person.approve(opened["connect_url"])
    own_state = parameters_of(callback)["state"]
    if state == "other secret":
        other_state = parameters_of((await person.press(other["connect_url"])).headers["location"])["state"]
        state = f"{own_state.rpartition('_')[0]}_{other_state.rpartition('_')[2]}"
    elif state == "handle":
        state = opened["connect_url"].rpartition("/")[2].replace("ch_", "st_")
    assert (await person.arrive(altered(callback, state=state))).status_code == 400
    assert (await session_of(app, opened["id"]))["status"] == "authorizing"
    assert exchanges(sandbox) == NOTHING


async def test_the_way_back_is_open_for_ten_minutes(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """A state expires; the app sees it, and the provider never hears of the code."""
    # B2
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    clock.advance(seconds=600)
    assert (await person.arrive(callback)).status_code == 400
    assert (await session_of(app, opened["id"]))["status"] == "expired"
    assert exchanges(sandbox) == NOTHING


@pytest.mark.parametrize(
    "path", ["practice-two", "practice-graceful", "unknown", "PRACTICE", "practice.", "practice%20", "practice%00"]
)
async def test_the_path_must_be_the_sessions(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, path: str
) -> None:
    """An answer at another provider's address (mix-up, cross-app attacks) is refused and its code sent nowhere."""
    # B2 B6
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    refused = await person.arrive(callback.replace("/callback/practice?", f"/callback/{path}?"))
    assert refused.status_code == 400
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 303


@pytest.mark.parametrize("path", ["practice%2Fx", "..%2Fpractice", "x%2F..%2Fpractice", ""])
async def test_odd_paths_lead_nowhere(app: ServiceClient, person: Person, sandbox: httpx2.Client, path: str) -> None:
    """Encoded slashes and dots don't reach the callback under another name."""
    # B11
    callback = await person.approve((await app.open_session())["connect_url"])
    assert (await person.arrive(callback.replace("/practice?", f"/{path}?"))).status_code == 404
    assert exchanges(sandbox) == NOTHING


async def test_a_head_takes_no_answer_in(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """A link checker that sends HEAD, even with the right cookie, is 405; the browser's GET still works."""  # S12
    opened = await app.open_session(completion="browser")
    callback = await person.approve(opened["connect_url"])
    looked = await person.broker.head(callback)
    assert (looked.status_code, looked.headers["allow"]) == (405, "GET")
    assert (await session_of(app, opened["id"]))["status"] == "authorizing"
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 303


@pytest.mark.parametrize("completion", ["app", "code", "browser"])
async def test_an_answer_counts_once(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, completion: str
) -> None:
    """Twenty times the same callback at once: one is taken, at most one code exchanged, the rest are refused."""  # B3
    opened = await app.open_session(completion=completion)
    callback = await person.approve(opened["connect_url"])
    answers = await asyncio.gather(*(person.arrive(callback) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [303] + 19 * [400]
    if completion == "app":
        (location,) = (answer.headers["location"] for answer in answers if "location" in answer.headers)
        assert exchanges(sandbox) == NOTHING
        await app.complete(opened["id"], parameters_of(location)["completion_code"])
    assert exchanges(sandbox) == (NOTHING if completion == "code" else (1, 0))
    again = await person.arrive(callback)
    assert again.status_code == 400
    if completion != "code":
        assert "This page works only once" in again.text
        assert "Nothing was connected" not in again.text


@pytest.mark.parametrize("answer", ["code", "error"])
@pytest.mark.parametrize("iss", [None, "", "https://evil.example", "slash", "case", "port"])
async def test_the_issuer_is_compared_exactly(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, answer: str, iss: str | None
) -> None:
    """``iss`` wrong or missing where the provider sends it, on success and on error: the session is over (RFC 9207)."""
    # B7
    opened = await app.open_session(completion="browser")
    callback = await person.approve(opened["connect_url"], "allow" if answer == "code" else "deny")
    right = parameters_of(callback)["iss"]
    tricks = {
        "slash": f"{right}/",
        "case": right.replace("http", "HTTP"),
        "port": right.replace("127.0.0.1", "localhost"),
    }
    refused = await person.arrive(altered(callback, iss=tricks.get(iss, iss) if iss else iss))
    assert refused.status_code == 400
    assert "location" not in refused.headers
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "invalid_issuer")
    assert (await person.arrive(callback)).status_code == 400
    assert exchanges(sandbox) == NOTHING


async def test_a_refusal_goes_to_the_app(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """The provider's ``access_denied`` returns as ``error`` with the state; the session failed, no code was sent."""
    opened = await app.open_session(state="back")
    returned = await person.arrive(await person.approve(opened["connect_url"], "deny"))
    assert returned.status_code == 303
    assert returned.headers["location"].startswith(f"{RETURN_URL}?")
    assert parameters_of(returned.headers["location"]) == {
        "connect_session": opened["id"],
        "error": "access_denied",
        "state": "back",
    }
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "access_denied")
    assert exchanges(sandbox) == NOTHING


async def test_a_refusal_without_an_app_to_return_to(app: ServiceClient, person: Person) -> None:
    """With completion ``code`` the person reads that nothing was connected, and sees no code."""
    opened = await app.open_session(completion="code")
    page = await person.arrive(await person.approve(opened["connect_url"], "deny"))
    assert page.status_code == 200
    assert "Nothing was connected" in page.text


HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("completion", ["app", "code"])
@pytest.mark.parametrize("parameter", ["error", "error_description", "error_uri"])
async def test_what_the_answer_says_is_never_repeated(
    app: ServiceClient, person: Person, parameter: str, completion: str
) -> None:
    """Markup in an error answer reaches neither page, header, app nor session; pages carry the policy."""
    # B10
    opened = await app.open_session(completion=completion)
    denied = await person.approve(opened["connect_url"], "deny")
    answer = await person.arrive(altered(denied, **{parameter: HOSTILE}))
    assert "script" not in answer.text + str(answer.headers)
    if completion == "code":
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    error = (await session_of(app, opened["id"]))["error"]
    assert error == ("provider_error" if parameter == "error" else "access_denied")


async def test_an_answer_without_code_or_error(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """It makes no sense: 400, and the session failed."""
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    assert (await person.arrive(altered(callback, code=None))).status_code == 400
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_error")
    assert exchanges(sandbox) == NOTHING


@pytest.mark.parametrize("parameter", ["code", "state", "iss"])
async def test_a_repeated_parameter_is_refused(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, parameter: str
) -> None:
    """An answer that can be read in two ways is not read (RFC 6749 §3.1)."""
    callback = await person.approve((await app.open_session())["connect_url"])
    twice = f"{callback}&{urlencode({parameter: parameters_of(callback)[parameter]})}"
    assert (await person.arrive(twice)).status_code == 400
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 303


async def test_an_endless_code_is_refused(app: ServiceClient, person: Person) -> None:
    """Nothing of unbounded length is kept."""
    callback = await person.approve((await app.open_session())["connect_url"])
    assert (await person.arrive(altered(callback, code=8193 * "x"))).status_code == 400
    assert (await person.arrive(callback)).status_code == 303


@pytest.mark.parametrize(
    ("registered", "begins"),
    [
        ("https://app.example/back?keep=1", "https://app.example/back?keep=1&connect_session=cs_"),
        ("https://app.example/back?", "https://app.example/back?&connect_session=cs_"),
        ("https://app.example", "https://app.example?connect_session=cs_"),
    ],
)
async def test_the_return_address_is_kept_as_it_is(
    make_client: MakeClient, person: Person, sandbox: httpx2.Client, registered: str, begins: str
) -> None:
    """The result is added to the registered address; what stood in it is neither lost nor rewritten."""
    # B9
    app = await make_client(return_urls=(registered,))
    opened = await app.open_session()
    returned = await person.arrive(await person.approve(opened["connect_url"], "deny"))
    assert returned.headers["location"].startswith(begins)
    assert parameters_of(returned.headers["location"])["error"] == "access_denied"


async def test_callbacks_take_no_posts(person: Person) -> None:
    """``response_mode=form_post`` is not asked for, and not read."""
    answer = await person.broker.post("/callback/practice", data={"code": "c", "state": "s"})
    assert answer.status_code == 405
