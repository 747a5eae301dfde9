"""Tests of :mod:`broker.web.connect`: the link, the page and the button."""

import asyncio
import json
import re
from io import StringIO

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.errors import NotSent
from broker.providers import Registry
from tests.journey import NOTHING, exchanges, session_of, snapshot
from tests.observe.capture import logged
from tests.world import PUBLIC_URL, RETURN_URL, FakeClock, Person, ServiceClient, parameters_of

__all__ = ["logged"]


async def test_the_page_says_who_asks_for_what(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """The link shows app, provider, person, scopes in words and the way back; the provider hears nothing of it."""
    opened = await app.open_session(subject_name="Ann Lee", scopes=["profile", "messages.read", "odd.scope"])
    shown = await person.broker.get(opened["connect_url"])
    assert shown.status_code == 200
    text = " ".join(re.sub(r"<[^>]+>", "", shown.text).split())
    for expected in ("app wants to connect to your Practice account", "Ann Lee", "app.example", "Read your messages"):
        assert expected in text
    assert "odd.scope" in text
    assert sandbox.get("/counters").json()["authorize"] == 0


async def test_looking_changes_nothing(app: ServiceClient, person: Person, raw_store: redis.Redis) -> None:
    """Mail scanners and link previews open links: no byte in the store changes, no browser is bound."""
    opened = await app.open_session()
    before = snapshot(raw_store)
    for method in ("GET", "HEAD", "GET"):
        shown = await person.broker.request(method, opened["connect_url"])
        assert shown.status_code == 200
        assert "set-cookie" not in shown.headers
    assert snapshot(raw_store) == before
    assert (await person.press(opened["connect_url"])).status_code == 303
    bound = snapshot(raw_store)
    assert bound != before
    await person.broker.get(opened["connect_url"])
    assert snapshot(raw_store) == bound


async def test_the_button_leads_to_the_provider(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """One 303 to the provider's own address with PKCE S256, a state and exactly the redirect URI (RFC 7636, 9700)."""
    opened = await app.open_session(state="of-the-app", scopes=["profile", "messages.read"])
    left = await person.press(opened["connect_url"])
    assert left.status_code == 303
    assert left.headers["cache-control"] == "no-store"
    assert left.headers["location"].startswith(f"{sandbox.base_url}/authorize?")
    asked = parameters_of(left.headers["location"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", asked.pop("code_challenge"))
    assert re.fullmatch(r"st_[A-Za-z0-9]{22}_[A-Za-z0-9]{43}", asked.pop("state"))
    assert asked == {
        "response_type": "code",
        "client_id": "practice-client",
        "redirect_uri": f"{PUBLIC_URL}/callback/practice",
        "scope": "profile messages.read",
        "code_challenge_method": "S256",
    }
    assert (await session_of(app, opened["id"]))["status"] == "authorizing"


async def test_each_departure_has_its_own_state_and_challenge(app: ServiceClient, person: Person) -> None:
    """Pressing again in the same browser starts over; only the newest way back is open."""
    opened = await app.open_session()
    first, second = [parameters_of((await person.press(opened["connect_url"])).headers["location"]) for _ in range(2)]
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]
    late = await person.arrive(f"/callback/practice?code=c&state={first['state']}")
    assert late.status_code == 400
    returned = await person.connect(opened["connect_url"])
    assert (await app.complete(opened["id"], returned["completion_code"])).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil", "X-Forwarded-Port": "666"},
        {"X-Forwarded-For": "evil.example", "X-Real-IP": "evil.example"},
    ],
)
async def test_headers_do_not_move_the_redirect_uri(
    app: ServiceClient, person: Person, headers: dict[str, str]
) -> None:
    """What a request claims about its host goes into no address: neither link, page nor redirect URI."""
    # B11
    answer = await app.call(
        "POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann"}, headers=dict(headers)
    )
    connect_url = answer.json()["connect_url"]
    assert connect_url.startswith(f"{PUBLIC_URL}/connect/")
    shown = await person.broker.get(connect_url, headers=headers)
    assert "evil" not in shown.text
    left = await person.press(connect_url, headers=dict(headers))
    assert parameters_of(left.headers["location"])["redirect_uri"] == f"{PUBLIC_URL}/callback/practice"
    assert "evil" not in str(left.headers)


@pytest.mark.parametrize("path", ["/connect/{handle}/", "/callback/practice/", "/static", "//evil.example/connect/x/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_paths_are_not_mended_by_redirects(app: ServiceClient, person: Person, path: str, method: str) -> None:
    """A path that is nearly right is not: no redirect to the host that the request names, least of all a 307."""
    # B11
    opened = await app.open_session()
    tried = path.format(handle=opened["connect_url"].rpartition("/")[2])
    answer = await person.broker.request(method, PUBLIC_URL + tried, headers={"Host": "evil.example"})
    assert answer.status_code in {404, 405}
    assert "location" not in answer.headers


async def test_no_page_can_be_framed(app: ServiceClient, person: Person) -> None:
    """Every page on the way forbids frames, by policy and by header."""
    # B13
    opened = await app.open_session()
    pages = [
        await person.broker.get(opened["connect_url"]),
        await person.press(opened["connect_url"], headers={"Origin": "null"}),
        await person.broker.get("/connect/nothing"),
        await person.arrive("/callback/practice?state=unknown"),
        await person.broker.get("/nowhere"),
    ]
    assert [page.status_code for page in pages] == [200, 403, 404, 400, 404]
    for page in pages:
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"


async def test_a_bound_link_is_dead_elsewhere(
    app: ServiceClient, http: httpx2.AsyncClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Once a browser has pressed the button, another can't look, continue or cancel; the first goes on."""
    # B4
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    other = Person(http)
    assert (await other.broker.get(opened["connect_url"])).status_code == 403
    for decision in ("continue", "cancel"):
        refused = await other.press(opened["connect_url"], decision)
        assert refused.status_code == 403
        assert "location" not in refused.headers
        assert "set-cookie" not in refused.headers
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 303


async def test_of_many_browsers_one_leaves(app: ServiceClient, http: httpx2.AsyncClient) -> None:
    """Twenty browsers press the button of one link at once: one is bound, the others are refused."""
    # B4
    opened = await app.open_session()
    pressed = await asyncio.gather(*(Person(http).press(opened["connect_url"]) for _ in range(20)))
    assert sorted(answer.status_code for answer in pressed) == [303] + 19 * [403]
    assert sum("set-cookie" in answer.headers for answer in pressed) == 1


async def test_of_many_decisions_one_counts(app: ServiceClient, http: httpx2.AsyncClient) -> None:
    """Browsers that continue and cancel at the same moment: one is obeyed, and nobody else is told so."""
    # B4
    opened = await app.open_session()
    decisions = 10 * ["continue", "cancel"]
    pressed = await asyncio.gather(*(Person(http).press(opened["connect_url"], decision) for decision in decisions))
    obeyed = [decision for decision, answer in zip(decisions, pressed, strict=True) if answer.status_code == 303]
    assert len(obeyed) == 1
    status = (await session_of(app, opened["id"]))["status"]
    assert status == {"continue": "authorizing", "cancel": "failed"}[obeyed[0]]


async def test_a_provider_out_of_reach_binds_nobody(
    app: ServiceClient, heart: Heart, http: httpx2.AsyncClient, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no address to leave for, the person is told to try again, in whichever browser."""
    opened = await app.open_session()
    with monkeypatch.context() as broken:

        async def unreachable(*_: object, **__: object) -> str:
            raise NotSent("the provider can't be reached")

        broken.setattr(type(heart.upstream), "authorization_url", unreachable)
        page = await person.press(opened["connect_url"])
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) > 0
    assert "not your fault" in page.text
    assert "set-cookie" not in page.headers
    assert (await session_of(app, opened["id"]))["status"] == "pending"
    assert (await Person(http).press(opened["connect_url"])).status_code == 303


async def test_a_provider_that_is_set_up_wrong_is_not_waited_for(
    app: ServiceClient, heart: Heart, clock: FakeClock, sandbox: httpx2.Client, logged: StringIO
) -> None:
    """Where waiting is no help the person is not told to wait; the log names provider, address and cause."""
    asked = str(sandbox.base_url).rstrip("/").replace("127.0.0.1", "localhost")
    misnamed = heart.providers.get("practice").model_copy(update={"issuer": asked})
    opened = await app.open_session()
    wrong = build_heart(heart.settings, Registry([misnamed]), clock)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(wrong)), base_url=PUBLIC_URL) as http:
        page = await Person(http).press(opened["connect_url"])
    await wrong.aclose(work_ends_within=5)
    assert page.status_code == 502
    assert "Something is set up wrong" in page.text
    assert "try again" not in page.text
    assert "Tell the people who run the app" in page.text
    assert page.headers["x-request-id"] in page.text
    assert asked not in page.text
    (line,) = [json.loads(line) for line in logged.getvalue().splitlines() if "connect.not_departed" in line]
    assert (line["provider"], line["session_id"]) == ("practice", opened["id"])
    assert line["request_id"] == page.headers["x-request-id"]
    assert "/.well-known/oauth-authorization-server names another issuer" in line["reason"]
    assert (await session_of(app, opened["id"]))["status"] == "pending"


async def test_cancelling_tells_the_app(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """The person's no goes back as ``access_denied`` with the app's state; the session is over, nothing was asked."""
    opened = await app.open_session(state="s t&te")
    left = await person.press(opened["connect_url"], "cancel")
    assert left.status_code == 303
    assert left.headers["location"].startswith(f"{RETURN_URL}?")
    assert left.headers["referrer-policy"] == "no-referrer"
    assert parameters_of(left.headers["location"]) == {
        "connect_session": opened["id"],
        "error": "access_denied",
        "state": "s t&te",
    }
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"], session["connection_id"]) == ("failed", "access_denied", None)
    assert (await person.press(opened["connect_url"])).status_code == 409
    assert (await person.broker.get(opened["connect_url"])).status_code == 409
    assert sandbox.get("/counters").json()["authorize"] == 0


async def test_cancelling_without_an_app_to_return_to(app: ServiceClient, person: Person) -> None:
    """With completion ``code`` the person ends on a page that says that nothing was connected."""
    opened = await app.open_session(completion="code")
    page = await person.press(opened["connect_url"], "cancel")
    assert page.status_code == 200
    assert "Nothing was connected" in page.text
    assert (await session_of(app, opened["id"]))["status"] == "failed"


async def test_cancelling_after_leaving(app: ServiceClient, person: Person) -> None:
    """Who comes back to the page may still say no; the provider's answer then finds nothing."""
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"])
    assert (await person.press(opened["connect_url"], "cancel")).status_code == 303
    assert (await person.arrive(callback)).status_code == 400
    assert (await session_of(app, opened["id"]))["error"] == "access_denied"


@pytest.mark.parametrize("form", [{"decision": "Continue"}, {"decision": "yes"}])
async def test_only_the_two_decisions_count(app: ServiceClient, person: Person, form: dict[str, str]) -> None:
    """A form that says neither continue nor cancel is not taken for consent."""
    opened = await app.open_session()
    answer = await person.broker.post(opened["connect_url"], data=form, headers={"Origin": PUBLIC_URL})
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers
    assert (await session_of(app, opened["id"]))["status"] == "pending"


async def test_a_link_is_good_for_half_an_hour(app: ServiceClient, person: Person, clock: FakeClock) -> None:
    """Then it leads nowhere, and the app sees ``expired``."""
    opened = await app.open_session()
    clock.advance(seconds=1799)
    assert (await person.broker.get(opened["connect_url"])).status_code == 200
    clock.advance(seconds=1)
    for answer in (
        await person.broker.get(opened["connect_url"]),
        await person.press(opened["connect_url"]),
        await person.press(opened["connect_url"], "cancel"),
    ):
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers
    assert (await session_of(app, opened["id"]))["status"] == "expired"


@pytest.mark.parametrize("change", ["other secret", "other session", "cut", "longer", "id only"])
async def test_a_link_can_not_be_guessed(app: ServiceClient, person: Person, change: str) -> None:
    """The link's secret counts in full; its session's id, which the app's address shows, is no link."""
    handle = (await app.open_session())["connect_url"].rpartition("/")[2]
    other = (await app.open_session())["connect_url"].rpartition("/")[2]
    (_, own_id, own_secret), (_, other_id, other_secret) = handle.split("_"), other.split("_")
    tried = {
        "other secret": f"ch_{own_id}_{other_secret}",
        "other session": f"ch_{other_id}_{own_secret}",
        "cut": handle[:-1],
        "longer": f"{handle}0",
        "id only": f"cs_{own_id}",
    }[change]
    assert (await person.broker.get(f"/connect/{tried}")).status_code == 404
    assert (await person.press(f"/connect/{tried}")).status_code == 404
