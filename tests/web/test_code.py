"""Tests of :mod:`broker.web.code`: the code that is carried back, who sees it, and for how long."""

import re
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest

from broker.models.ids import new_id
from tests.journey import NOTHING, exchanges, session_of
from tests.web.test_callback import altered
from tests.world import FakeClock, Person, ServiceClient


async def carrying(app: ServiceClient, person: Person) -> tuple[dict[str, Any], str, str]:
    """A session whose code is being shown: the session, the callback that was brought, and the page's address."""
    opened = await app.open_session(completion="code")
    callback = await person.approve(opened["connect_url"])
    arrived = await person.arrive(callback)
    assert arrived.status_code == 303
    return opened, callback, arrived.headers["location"]


def code_in(page: httpx2.Response, *, status: int = 200) -> str:
    """The code on the page."""
    assert page.status_code == status
    (code,) = re.findall(r"<code>([A-Z]{4}-[A-Z]{4})</code>", page.text)
    return str(code)


async def test_the_code_is_there_after_a_reload(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """As often as the page is loaded, it shows the same code; the provider hears of nothing, and the code works."""
    opened, _, address = await carrying(app, person)
    codes = {code_in(await person.arrive(address)) for _ in range(3)}
    assert len(codes) == 1
    assert exchanges(sandbox) == NOTHING
    assert (await app.complete(opened["id"], codes.pop())).status_code == 200
    assert exchanges(sandbox) == (1, 0)


async def test_the_address_bar_keeps_no_secret(app: ServiceClient, person: Person) -> None:
    """The provider's code and the state leave it with the redirect, which nothing may keep or pass on."""
    opened = await app.open_session(completion="code")
    arrived = await person.arrive(await person.approve(opened["connect_url"]))
    assert arrived.headers["location"] == f"/connect/{opened['id']}/code"
    assert arrived.headers["referrer-policy"] == "no-referrer"
    assert arrived.headers["cache-control"] == "no-store"


async def test_a_repeat_of_the_answer_shows_the_same_code(
    app: ServiceClient, person: Person, sandbox: httpx2.Client
) -> None:
    """A browser whose first answer got lost on the way brings it again, and nothing is taken in a second time."""
    # B3
    _, callback, address = await carrying(app, person)
    shown = code_in(await person.arrive(address))
    repeated = await person.arrive(callback)
    assert code_in(repeated, status=400) == shown
    assert "set-cookie" not in repeated.headers
    assert code_in(await person.arrive(address)) == shown
    assert exchanges(sandbox) == NOTHING


@pytest.mark.parametrize("changes", [{"code": "another"}, {"code": None, "error": "access_denied"}, {"code": None}])
async def test_another_answer_is_no_repeat(app: ServiceClient, person: Person, changes: dict[str, str | None]) -> None:
    """With the state of an answer that was taken in, nothing else is believed, and the session stays as it is."""
    # B2
    opened, callback, address = await carrying(app, person)
    assert (await person.arrive(altered(callback, **changes))).status_code == 400
    assert (await session_of(app, opened["id"]))["status"] == "awaiting_completion"
    assert code_in(await person.arrive(address))


async def test_no_other_browser_sees_the_code(app: ServiceClient, http: httpx2.AsyncClient, person: Person) -> None:
    """Neither by the page's address nor by the provider's answer, not even with the cookie of another session."""
    # B1 B5
    _, callback, address = await carrying(app, person)
    other = Person(http)
    await carrying(app, other)
    (others,) = other.broker.cookies.values()
    ((name, _),) = person.broker.cookies.items()
    for headers in ({}, {"Cookie": f"{name}={others}"}):
        hidden = await Person(http).arrive(address, headers=headers)
        assert hidden.status_code == 403
        assert "This page can&#39;t be shown here" in hidden.text
        refused = await Person(http).arrive(callback, headers=headers)
        assert refused.status_code == 400
        assert "location" not in refused.headers
        assert not re.findall(r"[A-Z]{4}-[A-Z]{4}", hidden.text + refused.text)


@pytest.mark.parametrize("session_id", ["", "x", new_id("cs"), "practice"], ids=["none", "short", "unknown", "a name"])
async def test_an_unknown_session_has_no_code(person: Person, session_id: str) -> None:
    """A made-up address says the same as one that belongs to another browser."""
    assert (await person.arrive(f"/connect/{session_id}/code")).status_code in {403, 404}


@pytest.mark.parametrize("completion", ["app", "browser"])
async def test_other_completions_show_no_code(app: ServiceClient, person: Person, completion: str) -> None:
    """What the app gets through the browser is not shown on a page."""
    opened = await app.open_session(completion=completion)
    callback = await person.approve(opened["connect_url"])
    ((name, value),) = person.broker.cookies.items()
    await person.arrive(callback)
    shown = await person.arrive(f"/connect/{opened['id']}/code", headers={"Cookie": f"{name}={value}"})
    assert shown.status_code == 403


async def test_a_completed_session_says_that_it_is_done(app: ServiceClient, person: Person) -> None:
    """The page says so instead of the code, and the provider's answer is used up."""
    opened, callback, address = await carrying(app, person)
    code = code_in(await person.arrive(address))
    assert (await app.complete(opened["id"], code)).status_code == 200
    done = await person.arrive(address)
    assert done.status_code == 200
    assert "This step is done" in done.text
    assert code not in done.text
    spent = await person.arrive(callback)
    assert spent.status_code == 400
    assert "Look in the app, or on the device, whether your account is connected" in spent.text
    assert "Nothing was connected" not in spent.text


async def test_a_failed_session_says_that_its_code_is_dead(app: ServiceClient, person: Person) -> None:
    """After somebody else tried to complete, the code works no more, and the page doesn't show it any more."""
    # B5
    opened, callback, address = await carrying(app, person)
    code = code_in(await person.arrive(address))
    assert (await app.complete(opened["id"], code, subject="somebody else")).status_code == 403
    over = await person.arrive(address)
    assert over.status_code == 409
    assert "This code does not work any more" in over.text
    assert code not in over.text
    assert (await person.arrive(callback)).status_code == 400


async def test_the_code_is_shown_as_long_as_it_works(app: ServiceClient, person: Person, clock: FakeClock) -> None:
    """The page counts the minutes down; after the last one it says that the time is over."""
    _, callback, address = await carrying(app, person)
    assert "works for 5 minutes" in (await person.arrive(address)).text
    clock.advance(seconds=180)
    assert "works for 2 minutes" in (await person.arrive(address)).text
    clock.advance(seconds=120)
    over = await person.arrive(address)
    assert over.status_code == 404
    assert "Its time is over" in over.text
    assert (await person.arrive(callback)).status_code == 400


async def test_the_cookie_lives_as_long_as_the_code(app: ServiceClient, person: Person, clock: FakeClock) -> None:
    """Five minutes from the answer on; a repeat of the answer prolongs nothing."""
    # B12
    opened = await app.open_session(completion="code")
    callback = await person.approve(opened["connect_url"])
    (header,) = (await person.arrive(callback)).headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(header).values()
    assert (morsel["max-age"], morsel["httponly"], morsel["samesite"].lower()) == ("300", True, "lax")
    clock.advance(seconds=60)
    assert (await person.arrive(callback)).headers.get_list("set-cookie") == []
