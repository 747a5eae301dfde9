"""Tests of :mod:`broker.web.device`: the code, the question, yes and no, and what opening a page doesn't do."""

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from tests.journey import NOTHING, exchanges, snapshot
from tests.machine import Machine, MakeMachine
from tests.world import PUBLIC_URL, FakeClock, Person, parameters_of

OWN = {"Origin": PUBLIC_URL}


@pytest.fixture
async def machine(make_machine: MakeMachine, sandbox: httpx2.Client) -> Machine:
    """A machine that shows a code."""
    machine = await make_machine()
    await machine.begin(device_name="build-box")
    return machine


def code_of(machine: Machine) -> str:
    """The code on its screen."""
    return str(machine.codes["user_code"])


def link_of(machine: Machine) -> str:
    """The complete link, which it shows as a QR code."""
    return str(machine.codes["verification_uri_complete"])


async def hears(machine: Machine) -> str:
    """What a machine is told that asks whether it was approved."""
    return str((await machine.poll()).json()["error"])


async def post(person: Person, code: str, decision: str | None = None, **headers: str) -> httpx2.Response:
    """Send the form with the code, or with the decision."""
    form = {"user_code": code} | ({"decision": decision} if decision else {})
    return await person.broker.post("/device", data=form, headers={**OWN, **headers})


async def approve(person: Person, machine: Machine, decision: str = "allow") -> httpx2.Response:
    """Approve on our page and answer at the provider; the page at the end."""
    left = await post(person, code_of(machine), "approve")
    assert left.status_code == 303, left.text
    return await person.arrive(await person.consent(left.headers["location"], decision))


async def test_the_whole_way(machine: Machine, person: Person, sandbox: httpx2.Client) -> None:
    """Form, code, question, provider, end page; and the machine collects its login."""
    form = await person.broker.get("/device")
    assert form.status_code == 200
    assert 'name="user_code"' in form.text
    assert "Does your device show this code?" in (await post(person, code_of(machine))).text
    assert await hears(machine) == "authorization_pending"
    end = await approve(person, machine)
    assert end.status_code == 200
    assert "Approved: go back to your device" in end.text
    assert "alice@practice.example" in end.text
    assert list(person.broker.cookies) == ["device"]
    assert exchanges(sandbox) == (1, 0)
    assert (await machine.collect())["access_token"].startswith("bat_")


async def test_the_question_says_who_from_where_when_and_for_what(machine: Machine, person: Person) -> None:
    """Client, the machine's own name marked as such, address, moment, provider, scopes in words; and the warning."""
    # D5
    text = " ".join((await post(person, code_of(machine))).text.split())
    for shown in ("laptops", "build-box", "as it calls itself", "203.0.113.7", "less than a minute ago", " UTC"):
        assert shown in text
    for shown in ("Practice", "Read your messages", "messages.read", code_of(machine), "Did somebody else send you"):
        assert shown in text


@pytest.mark.parametrize("spelling", ["{lower}", "{plain}", " {code} ", "{first} {second}", "{lower_plain}"])
async def test_spelling_does_not_matter(machine: Machine, person: Person, spelling: str) -> None:
    """Any case, with or without its hyphen (RFC 8628 §6.1)."""
    code = code_of(machine)
    typed = spelling.format(
        code=code,
        lower=code.lower(),
        plain=code.replace("-", ""),
        lower_plain=code.replace("-", "").lower(),
        first=code[:4],
        second=code[5:],
    )
    answer = await post(person, typed)
    assert answer.status_code == 200
    assert code in answer.text


async def test_the_complete_link_still_asks(
    machine: Machine, person: Person, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """It shows the question, with the code to compare; whoever only opens it, however often, changes nothing."""
    # D5
    await person.broker.get("/readyz")  # the store knows its keyring from then on
    before = snapshot(raw_store)
    for _ in range(7):
        for method in ("GET", "HEAD"):
            shown = await person.broker.request(method, link_of(machine))
            assert shown.status_code == 200
    assert "Does your device show this code?" in (await person.broker.get(link_of(machine))).text
    assert (await person.broker.get("/device")).status_code == 200
    assert snapshot(raw_store) == before
    assert await hears(machine) == "authorization_pending"
    assert exchanges(sandbox) == NOTHING


@pytest.mark.parametrize("code", ["BBBB-BBBB", "x", "WDJB-MJH", "0000-0000", "a" * 5000, "<b>", "\u202e", "é", "da_x"])
async def test_a_wrong_code_gets_the_form_again(machine: Machine, person: Person, code: str) -> None:
    """With 400 and words, by link and by form; what was typed stays text, and little of it."""
    # B10
    for answer in (await post(person, code), await person.broker.get("/device", params={"user_code": code})):
        assert answer.status_code == 400
        assert "This code is not valid, or not any longer." in answer.text
        assert 'name="user_code"' in answer.text
        assert len(answer.text) < 5000
        assert "<b>" not in answer.text


@pytest.mark.parametrize("end", ["declined", "used", "expired", "the client is gone"])
async def test_a_code_that_has_served_is_a_wrong_one(
    machine: Machine, person: Person, heart: Heart, clock: FakeClock, end: str
) -> None:
    """Declined, used, expired, of a client that is gone: not told apart from one that never was."""
    match end:
        case "declined":
            await post(person, code_of(machine), "decline")
        case "used":
            await approve(person, machine)
        case "expired":
            clock.advance(seconds=900)
        case _:
            await heart.clients.delete(machine.client_id)
    for decision in (None, "approve", "decline"):
        answer = await post(person, code_of(machine), decision)
        assert answer.status_code == 400
        assert "This code is not valid, or not any longer." in answer.text


async def test_no_is_final(machine: Machine, person: Person, sandbox: httpx2.Client) -> None:
    """Decline ends the attempt; the page says so and offers nothing to press; the provider hears nothing."""
    end = await post(person, code_of(machine), "decline")
    assert end.status_code == 200
    assert "<h1>Declined</h1>" in end.text
    assert "<button" not in end.text
    assert await hears(machine) == "access_denied"
    assert sandbox.get("/counters").json()["authorize"] == 0


async def test_no_at_the_provider_is_a_no(machine: Machine, person: Person, sandbox: httpx2.Client) -> None:
    """The same end page, and the machine hears it."""
    end = await approve(person, machine, "deny")
    assert "<h1>Declined</h1>" in end.text
    assert await hears(machine) == "access_denied"
    assert exchanges(sandbox) == NOTHING


async def test_another_error_of_the_provider_leaves_the_code_open(machine: Machine, person: Person) -> None:
    """The page says that it can be tried again, and so it can."""
    left = await post(person, code_of(machine), "approve")
    asked = parameters_of(left.headers["location"])
    issuer = left.headers["location"].partition("/authorize")[0]
    answer = {"state": asked["state"], "error": "server_error", "iss": issuer}
    end = await person.broker.get("/callback/practice", params=answer)
    assert end.status_code == 400
    assert "enter its code again" in end.text
    assert await hears(machine) == "authorization_pending"
    assert (await approve(person, machine)).status_code == 200


async def test_the_latest_browser_counts(
    machine: Machine, person: Person, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Who comes back after another one has approved anew is told so; only one code is redeemed."""
    first = await person.consent((await post(person, code_of(machine), "approve")).headers["location"])
    other = Person(http, "bob@practice.example")
    assert "bob@practice.example" in (await approve(other, machine)).text
    late = await person.arrive(first)
    assert late.status_code == 400
    assert "Your device is not logged in" in late.text
    assert exchanges(sandbox) == (1, 0)


async def test_the_browser_that_left_has_to_come_back(
    machine: Machine, person: Person, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Somebody else's browser with the provider's answer connects nothing."""
    # B1
    callback = await person.consent((await post(person, code_of(machine), "approve")).headers["location"])
    refused = await Person(http).arrive(callback)
    assert refused.status_code == 403
    assert "Nothing was changed" in refused.text
    assert exchanges(sandbox) == NOTHING
    assert (await person.arrive(callback)).status_code == 200


@pytest.mark.parametrize("decision", [None, "approve", "decline"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_another_sites_form_is_refused(
    machine: Machine, person: Person, raw_store: redis.Redis, decision: str | None, headers: dict[str, str]
) -> None:
    """403 before the code is looked at; nothing changes, and nothing is counted as a try."""
    # B13
    before = snapshot(raw_store)
    answer = await post(person, code_of(machine), decision, **headers)
    assert answer.status_code == 403
    assert code_of(machine) not in answer.text
    assert snapshot(raw_store) == before
    assert raw_store.keys("broker:count:user_codes*") == []


async def test_an_unknown_decision_is_refused(machine: Machine, person: Person) -> None:
    """Neither yes nor no is no yes."""
    answer = await post(person, code_of(machine), "maybe")
    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text
    assert await hears(machine) == "authorization_pending"


async def test_names_are_escaped(
    heart: Heart, http: httpx2.AsyncClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Client and device may call themselves anything: it stays text, and turns no words around it."""
    # B10
    hostile = "<script>alert(1)</script>"
    client, _ = await heart.clients.create(f"{hostile}A", scopes=("tokens:read",), device=True, public=True)
    machine = Machine(http, client.client_id)
    await machine.begin(device_name=f"{hostile}B")
    for answer in (await post(person, code_of(machine)), await approve(person, machine)):
        assert "<script" not in answer.text
        for name in ("A", "B"):
            assert f"<bdi>&lt;script&gt;alert(1)&lt;/script&gt;{name}</bdi>" in answer.text


async def test_without_a_store_the_page_says_so(machine: Machine, heart: Heart, person: Person) -> None:
    """503: a code that can't be counted is not looked up."""
    await heart.store.aclose()
    for answer in (await post(person, code_of(machine)), await person.broker.get(link_of(machine))):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
