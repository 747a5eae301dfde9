"""A machine logs in at a provider that knows no OAuth: code, question, form, and the machine collects."""

import asyncio

import httpx2
import pytest
import redis

from tests.kinds.cases import ALICE_KEY, CASES, Case
from tests.machine import Machine, MakeMachine
from tests.web.forms import send
from tests.world import PUBLIC_URL, FakeClock, Person


async def to_the_form(person: Person, machine: Machine) -> str:
    """Approve on our page; the address of the form."""
    form = {"user_code": machine.codes["user_code"], "decision": "approve"}
    left = await person.broker.post("/device", data=form, headers={"Origin": PUBLIC_URL})
    assert left.status_code == 303, left.text
    return str(left.headers["location"])


@pytest.fixture
async def machine(make_machine: MakeMachine, sandbox: httpx2.Client) -> Machine:
    """A machine of a public client that shows a code for a provider with API keys."""
    machine = await make_machine()
    await machine.begin("practice-key", device_name="build-box")
    return machine


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_whole_way(make_machine: MakeMachine, person: Person, sandbox: httpx2.Client, case: Case) -> None:
    """Machine → page → form → login; where the kind has a token, the machine gets it, and else it is told why not."""
    machine = await make_machine()
    await machine.begin(case.provider)
    form = await to_the_form(person, machine)
    assert (await machine.poll()).json()["error"] == "authorization_pending"
    assert (await person.broker.get(form)).status_code == 200
    assert (await send(person, form, case.wrong)).status_code == 422
    end = await send(person, form, case.good)
    assert end.status_code == 200
    assert "Approved: go back to your device" in end.text
    assert "alice@practice.example" in end.text
    login = await machine.collect()
    assert login["access_token"].startswith("bat_")
    fetched = await machine.fetch()
    if case.token is None:
        assert fetched.status_code == 409
    else:
        assert fetched.json()["access_token"] == case.good[case.token]
    shown = await machine.call("GET", f"/v1/connections/{login['connection_id']}")
    assert shown.json()["subject"] == f"{case.provider}:usr_1001"


async def test_the_question_and_the_form_say_who_asks(machine: Machine, person: Person) -> None:
    """Client, device, scopes; the question announces the form and no sign-in; declining is as prominent."""
    # D5
    form = {"user_code": machine.codes["user_code"]}
    question = " ".join((await person.broker.post("/device", data=form, headers={"Origin": PUBLIC_URL})).text.split())
    for shown in ("laptops", "build-box", "Read your messages", "The next page asks what"):
        assert shown in question
    assert "You will sign in" not in question
    page = " ".join((await person.broker.get(await to_the_form(person, machine))).text.split())
    for shown in ("A device with <bdi>laptops</bdi> wants to use", "build-box", "as it calls itself"):
        assert shown in page
    assert page.count('class="secondary"') == 2


async def test_cancelling_on_the_form(machine: Machine, person: Person) -> None:
    """The machine hears that it was denied."""
    page = await send(person, await to_the_form(person, machine), {}, decision="cancel")
    assert page.status_code == 200
    assert (await machine.poll()).json()["error"] == "access_denied"


async def test_the_code_again_in_another_browser(machine: Machine, person: Person, http: httpx2.AsyncClient) -> None:
    """Whoever lost the window enters the code again; the latest browser counts, and the first one's form is over."""
    # B4
    first = await to_the_form(person, machine)
    other = Person(http)
    second = await to_the_form(other, machine)
    refused = await send(person, first, {"api_key": ALICE_KEY})
    assert refused.status_code == 400
    assert "Your device is not logged in" in refused.text
    assert (await machine.poll()).json()["error"] == "authorization_pending"
    assert (await send(person, second, {"api_key": ALICE_KEY})).status_code == 403
    assert (await send(other, second, {"api_key": ALICE_KEY})).status_code == 200
    assert (await machine.collect())["connection_id"]


async def test_a_machine_that_stopped_waiting(
    machine: Machine, person: Person, clock: FakeClock, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Its time is over while the person looks for the key: nothing is connected, and nothing of it is kept."""
    form = await to_the_form(person, machine)
    clock.advance(seconds=500)
    assert (await send(person, form, {"api_key": "pk_nobodys_key_1"})).status_code == 422
    clock.advance(seconds=450)
    refused = await send(person, form, {"api_key": ALICE_KEY})
    assert refused.status_code == 400
    assert "Your device is not logged in" in refused.text
    assert not raw_store.keys("broker:*:typed")
    assert not raw_store.keys("broker:{*}:con_*")


async def test_a_double_click(machine: Machine, person: Person) -> None:
    """One connection, one login, and every answer is the good end."""
    # D3
    form = await to_the_form(person, machine)
    ends = await asyncio.gather(*(send(person, form, {"api_key": ALICE_KEY}) for _ in range(4)))
    assert [end.status_code for end in ends] == [200] * 4
    assert len({end.text for end in ends}) == 1
    late = await send(person, form, {"api_key": ALICE_KEY})
    assert late.status_code == 409
    login = await machine.collect()
    assert (await machine.fetch()).json()["connection_id"] == login["connection_id"]


async def test_a_double_click_at_two_processes(machine: Machine, person: Person, replica: httpx2.AsyncClient) -> None:
    """One of them makes the login; the other one says where to look, and spoils nothing."""  # D3
    form = await to_the_form(person, machine)
    hand = Person(replica)
    hand.broker.cookies = person.broker.cookies
    ends = await asyncio.gather(*(send(each, form, {"api_key": ALICE_KEY}) for each in (person, hand)))
    assert sorted(end.status_code for end in ends) == [200, 400]
    (spent,) = [end for end in ends if end.status_code == 400]
    assert "Look in the app, or on the device" in spent.text
    assert (await machine.collect())["connection_id"]


async def test_who_lost_the_last_page_sends_again(machine: Machine, person: Person) -> None:
    """The login stands, and the page says where to look; its own page is told once."""
    form = await to_the_form(person, machine)
    cookies = dict(person.broker.cookies)
    assert (await send(person, form, {"api_key": ALICE_KEY})).status_code == 200
    for name, value in cookies.items():
        person.broker.cookies.set(name, value)
    again = await send(person, form, {"api_key": ALICE_KEY})
    assert again.status_code == 400
    assert "Look in the app, or on the device" in again.text
    login = await machine.collect()
    assert (await machine.fetch()).json()["connection_id"] == login["connection_id"]


async def test_a_provider_that_is_down(machine: Machine, person: Person, sandbox: httpx2.Client) -> None:
    """The form says to try again, and the machine goes on waiting."""
    form = await to_the_form(person, machine)
    sandbox.post("/control", json={"api_fault": "status_503", "faults_left": 1}).raise_for_status()
    assert (await send(person, form, {"api_key": ALICE_KEY})).status_code == 503
    assert (await machine.poll()).json()["error"] == "authorization_pending"
    assert (await send(person, form, {"api_key": ALICE_KEY})).status_code == 200
    assert (await machine.collect())["connection_id"]
