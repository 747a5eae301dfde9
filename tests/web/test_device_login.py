"""Tests of :mod:`broker.web.device_login`: a person's own page about a machine, and ending its login there."""

import re
from dataclasses import dataclass

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.ids import bearing_secret
from tests.journey import snapshot
from tests.machine import Machine, MakeMachine, approve
from tests.world import PUBLIC_URL, FakeClock, Person

OWN = {"Origin": PUBLIC_URL}


@dataclass
class Login:
    """A login that was approved."""

    machine: Machine
    page: str
    connection_id: str


@pytest.fixture
async def login(make_machine: MakeMachine, heart: Heart, person: Person, sandbox: httpx2.Client) -> Login:
    """A login that was approved, and not collected yet."""
    machine = await make_machine()
    codes = await machine.begin(device_name="build-box")
    approved = await approve(heart, person, codes["user_code"])
    return Login(machine, f"/device/logins/{approved.manage_handle}", approved.connection.id)


async def test_the_page_at_the_end_leads_there(
    make_machine: MakeMachine, person: Person, sandbox: httpx2.Client
) -> None:
    """By a link, and no button: the address is the proof."""
    machine = await make_machine()
    form = {"user_code": (await machine.begin())["user_code"], "decision": "approve"}
    left = await person.broker.post("/device", data=form, headers=OWN)
    end = await person.arrive(await person.consent(left.headers["location"]))
    assert "<button" not in end.text
    [page] = re.findall(r'<a href="([^"]+)">See or end this login</a>', end.text)
    await machine.collect()
    assert (await person.broker.get(page)).status_code == 200


async def test_it_says_what_since_when_last_used_and_from_where(login: Login, person: Person, clock: FakeClock) -> None:
    """The machine's own name marked as such, client, provider, account; kept by nobody and told to nobody."""
    await login.machine.collect()
    clock.advance(seconds=3 * 3600)
    await login.machine.refresh()
    clock.advance(seconds=120)
    answer = await person.broker.get(login.page)
    text = " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())
    for shown in ("build-box as it calls itself", "laptops", "Practice", "alice@practice.example", "203.0.113.7"):
        assert shown in text
    assert re.search(r"Since 3 hours ago \d+ \w+ \d{4}, \d\d:\d\d UTC Last used 2 minutes ago", text)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"


async def test_looking_changes_nothing(login: Login, person: Person, raw_store: redis.Redis) -> None:
    """However often; before the machine has collected its login, and after."""
    for collects in (False, True):
        if collects:
            await login.machine.collect()
        before = snapshot(raw_store)
        for method in ("GET", "HEAD"):
            assert (await person.broker.request(method, login.page)).status_code == 200
        assert snapshot(raw_store) == before


async def test_before_the_machine_has_come(login: Login, person: Person) -> None:
    """The page says so; the person can take it back, and the machine is told no."""
    answer = await person.broker.get(login.page)
    assert answer.status_code == 200
    assert "has not finished its login yet" in answer.text
    assert "Take the approval back" in answer.text
    ended = await person.broker.post(login.page, headers=OWN)
    assert ended.status_code == 200
    assert "The device is logged out" in ended.text
    assert (await login.machine.poll()).json()["error"] == "access_denied"
    assert (await person.broker.get(login.page)).status_code == 404


async def test_the_button_logs_the_machine_out(login: Login, person: Person, clock: FakeClock) -> None:
    """Its tokens stop working; the end page has nothing to press; a second time there is nothing to end."""
    await login.machine.collect()
    assert (await login.machine.fetch()).status_code == 200
    ended = await person.broker.post(login.page, headers=OWN)
    assert ended.status_code == 200
    assert "The device is logged out" in ended.text
    assert "<button" not in ended.text
    assert (await login.machine.refresh()).json()["error"] == "invalid_grant"
    clock.advance(seconds=3600)
    for answer in (await person.broker.get(login.page), await person.broker.post(login.page, headers=OWN)):
        assert answer.status_code == 404
        assert "There is no such login" in answer.text


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}])
async def test_another_sites_form_is_refused(login: Login, person: Person, headers: dict[str, str]) -> None:
    """403, and the machine stays logged in."""
    # B13
    await login.machine.collect()
    refused = await person.broker.post(login.page, headers={**OWN, **headers})
    assert refused.status_code == 403
    assert (await login.machine.fetch()).status_code == 200


async def test_a_made_up_handle_opens_nothing(
    login: Login, person: Person, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Neither one of no login, nor one with another secret; nothing of the machine is shown or ended."""
    await login.machine.collect()
    clock.advance(seconds=1800)
    other = "/device/logins/" + bearing_secret("dh", login.connection_id)
    for page in (other, f"{login.page}x", "/device/logins/x", "/device/logins/" + "é" * 50):
        for answer in (await person.broker.get(page), await person.broker.post(page, headers=OWN)):
            assert answer.status_code == 404
            assert "build-box" not in answer.text
    await login.machine.refresh()
    assert (await login.machine.fetch()).status_code == 200


async def test_a_person_gets_rid_of_a_login_whose_client_is_gone(login: Login, person: Person, heart: Heart) -> None:
    """Its machines can do nothing any more, but what was connected for them is still there."""
    await login.machine.collect()
    await heart.clients.delete(login.machine.client_id)
    assert "not registered any more" in (await person.broker.get(login.page)).text
    assert (await person.broker.post(login.page, headers=OWN)).status_code == 200
    await heart.devices.life.tidy(login.connection_id)
    record = await heart.records.read(login.connection_id)
    assert record is not None
    assert record.status == "revoked"
    assert (await person.broker.get(login.page)).status_code == 404
