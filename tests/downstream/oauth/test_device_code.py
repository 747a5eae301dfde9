"""The device code grant (RFC 8628 §3.4, §3.5) by the broker's own page: every state that a machine can be told."""

import asyncio
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.completion import Completions
from broker.connections.device_approval import UserCodeUnknown
from broker.connections.device_life import DeviceLife
from broker.errors import NotFound
from broker.models.connection import Connection
from broker.models.ids import digest
from broker.vault import names
from tests.downstream.answers import oauth_error_of
from tests.journey import MakeClient
from tests.machine import Machine, MakeMachine, approve, arrive, depart
from tests.world import FakeClock, Person, ServiceClient


async def state_of(machine: Machine) -> str:
    """What the machine is told now."""
    answer = await machine.poll()
    assert answer.status_code == 400, answer.text
    return oauth_error_of(answer)


async def test_a_machine_waits_and_then_is_logged_in(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """Pending until the person has agreed at the provider, then tokens of one connection: and they work."""  # D2
    machine = await make_machine()
    codes = await machine.begin(device_name="build-7")
    assert await state_of(machine) == "authorization_pending"
    departure = await depart(heart, codes["user_code"])
    clock.advance(seconds=5)
    assert await state_of(machine) == "authorization_pending"
    await arrive(heart, departure, await person.consent(departure.url))
    clock.advance(seconds=5)
    tokens = await machine.collect()
    assert tokens["token_type"] == "Bearer"
    assert tokens["access_token"].startswith("bat_")
    assert tokens["refresh_token"].startswith("brt_")
    assert tokens["expires_in"] == 900
    fetched = await machine.fetch()
    assert fetched.status_code == 200
    assert fetched.json()["connection_id"] == tokens["connection_id"]


async def test_the_first_poll_is_never_too_early(make_machine: MakeMachine) -> None:
    """The interval counts from the poll before (§3.5)."""  # D2
    machine = await make_machine()
    await machine.begin()
    assert await state_of(machine) == "authorization_pending"


async def test_a_machine_in_a_hurry_is_slowed_down_for_good(make_machine: MakeMachine, clock: FakeClock) -> None:
    """Five seconds more each time (§3.5), counted from the poll before, also from one that came too early."""  # D2
    machine = await make_machine()
    await machine.begin()
    assert await state_of(machine) == "authorization_pending"
    clock.advance(seconds=4)
    assert await state_of(machine) == "slow_down"  # from here on 10
    clock.advance(seconds=9)
    assert await state_of(machine) == "slow_down"  # 15
    clock.advance(seconds=15)
    assert await state_of(machine) == "authorization_pending"
    clock.advance(seconds=14)
    assert await state_of(machine) == "slow_down"


async def test_a_no_is_told_and_final(make_machine: MakeMachine, heart: Heart, clock: FakeClock) -> None:
    """On our page; nobody can approve it afterwards."""  # D2
    machine = await make_machine()
    codes = await machine.begin()
    authorization, _ = await heart.devices.approvals.find(codes["user_code"])
    await heart.devices.approvals.decline(authorization)
    assert await state_of(machine) == "access_denied"
    clock.advance(seconds=5)
    assert await state_of(machine) == "access_denied"


async def test_a_no_at_the_provider_is_a_no(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """Any other error of the provider leaves the code as good as before."""  # D2
    machine = await make_machine()
    codes = await machine.begin()
    first = await depart(heart, codes["user_code"])
    session = await heart.opening.read(first.session_id)
    assert session is not None
    await heart.devices.approvals.turned_back(session, "temporarily_unavailable")
    assert await state_of(machine) == "authorization_pending"
    second = await depart(heart, codes["user_code"])
    # What an older window brings doesn't count any more.
    await heart.devices.approvals.turned_back(session, "access_denied")
    clock.advance(seconds=5)
    assert await state_of(machine) == "authorization_pending"
    session = await heart.opening.read(second.session_id)
    assert session is not None
    await heart.devices.approvals.turned_back(session, "access_denied")
    clock.advance(seconds=5)
    assert await state_of(machine) == "access_denied"


async def test_time_runs_out(make_machine: MakeMachine, heart: Heart, clock: FakeClock) -> None:
    """After a quarter of an hour the machine is told, and the code leads nowhere."""  # D2
    machine = await make_machine()
    await machine.begin()
    clock.advance(seconds=899)
    assert await state_of(machine) == "authorization_pending"
    clock.advance(seconds=1)
    assert await state_of(machine) == "expired_token"
    # The store's own clock may be behind: the code is still there.
    with pytest.raises(UserCodeUnknown):
        await heart.devices.approvals.find(machine.codes["user_code"])


async def test_a_yes_that_comes_too_late_redeems_nothing(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """The machine has been told that its time is over: nobody would collect what is connected."""
    machine = await make_machine()
    codes = await machine.begin()
    clock.advance(seconds=895)
    departure = await depart(heart, codes["user_code"])
    callback = await person.consent(departure.url)
    clock.advance(seconds=10)
    with pytest.raises(UserCodeUnknown):
        await arrive(heart, departure, callback)
    assert sandbox.get("/counters").json()["token"]["authorization_code"] == {"ok": 0, "error": 0}


async def test_many_polls_at_the_approval_get_one_login(
    make_machine: MakeMachine, heart: Heart, person: Person, raw_store: redis.Redis
) -> None:
    """One of them, and one device session; the code is spent for all others (§3.5)."""  # D3
    machine = await make_machine()
    codes = await machine.begin()
    await approve(heart, person, codes["user_code"])
    answers = await asyncio.gather(*(machine.poll() for _ in range(30)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {oauth_error_of(answer) for answer in answers if answer not in won} == {"invalid_grant"}
    assert len(await heart.devices.life.sessions(won[0].json()["connection_id"])) == 1
    assert oauth_error_of(await machine.poll()) == "invalid_grant"


async def test_another_clients_device_code_is_no_use(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """Whatever its state; nothing is spent, and its owner's pace isn't touched."""  # D4
    owner, thief = await make_machine(), await make_machine()
    codes = await owner.begin()
    thief.codes = codes
    assert await state_of(thief) == "invalid_grant"
    assert await state_of(owner) == "authorization_pending"
    await approve(heart, person, codes["user_code"])
    assert await state_of(thief) == "invalid_grant"
    await owner.collect()


async def test_made_up_device_codes_are_counted_as_failures(make_machine: MakeMachine) -> None:
    """Guessing one takes longer than the universe; trying costs the address its failures all the same."""  # D1
    machine = await make_machine()
    codes = await machine.begin()
    machine.codes = {"device_code": codes["device_code"][:-1] + "!"}
    statuses = [(await machine.poll()).status_code for _ in range(125)]
    assert statuses[:120] == [400] * 120
    assert set(statuses[120:]) == {429}
    machine.codes = codes
    assert await state_of(machine) == "authorization_pending"


async def test_a_client_that_is_gone_logs_nobody_in(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """Deleted between the approval and the collection; what was connected for it is given back."""  # D6
    machine = await make_machine()
    codes = await machine.begin()
    approved = await approve(heart, person, codes["user_code"])
    await heart.clients.delete(machine.client_id)
    assert (await machine.poll()).status_code == 401
    clock.advance(seconds=1000)
    assert await heart.devices.life.tidy(approved.connection.id) is None
    record = await heart.records.read(approved.connection.id)
    assert record is not None
    assert record.status == "revoked"


async def test_a_client_whose_tokens_were_ended_logs_nobody_in(
    make_machine: MakeMachine, heart: Heart, person: Person
) -> None:
    """What proved it may have leaked: who began the login before that may be somebody else."""  # D6
    machine = await make_machine(public=False)
    codes = await machine.begin()
    await approve(heart, person, codes["user_code"])
    await heart.clients.end_tokens(machine.client_id)
    assert await state_of(machine) == "access_denied"


async def test_what_no_machine_collects_is_given_back(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Five minutes after its code is over, at the provider, too; what a client ordered for a subject stays."""
    machine, service = await make_machine(), await make_machine(public=False)
    alone = await approve(heart, person, (await machine.begin())["user_code"])
    ordered = await approve(heart, person, (await service.begin(subject="ann"))["user_code"])
    assert (alone.connection.subject, ordered.connection.subject) == ("practice:usr_1001", "ann")
    clock.advance(seconds=1201)
    life: DeviceLife = heart.devices.life
    assert [await life.tidy(approved.connection.id) for approved in (alone, ordered)] == [None, None]
    records = [await heart.records.read(approved.connection.id) for approved in (alone, ordered)]
    assert [record.status for record in records if record] == ["revoked", "active"]
    assert sandbox.get("/counters").json()["revoke"] == 1


async def test_who_dies_while_redeeming_keeps_nobody_out(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that it may take, the code can be entered again; and leads to another connection."""  # F1
    machine = await make_machine()
    codes = await machine.begin()
    first = await depart(heart, codes["user_code"])
    callback = await person.consent(first.url)

    async def dies(*_args: object, **_more: object) -> Connection:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(Completions, "complete_in_browser", dies)
        with pytest.raises(asyncio.CancelledError):
            await arrive(heart, first, callback)
    with pytest.raises(UserCodeUnknown):
        await heart.devices.approvals.find(codes["user_code"])
    clock.advance(seconds=151)
    before, _ = await heart.devices.approvals.find(codes["user_code"])
    approved = await approve(heart, person, codes["user_code"])
    assert approved.connection.id != before.connection_id
    assert (await machine.collect())["connection_id"] == approved.connection.id


async def test_a_connection_that_is_made_late_is_given_back(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun in time, done when the machine asks no more: also one for a subject, which nobody would ever collect."""
    machine = await make_machine(public=False)
    codes = await machine.begin(subject="ann")
    clock.advance(seconds=890)
    departure = await depart(heart, codes["user_code"])
    callback = await person.consent(departure.url)
    complete, made = Completions.complete_in_browser, list[Connection]()

    async def slow(self: Completions, *arguments: Any, **more: Any) -> Connection:
        clock.advance(seconds=11)
        made.append(await complete(self, *arguments, **more))
        return made[0]

    monkeypatch.setattr(Completions, "complete_in_browser", slow)
    with pytest.raises(UserCodeUnknown):
        await arrive(heart, departure, callback)
    record = await heart.records.read(made[0].id)
    assert record is not None
    assert record.status == "revoked"


async def test_the_latest_browser_counts(
    make_machine: MakeMachine, heart: Heart, person: Person, sandbox: httpx2.Client
) -> None:
    """Who lost the window enters the code again; the first window's yes is not redeemed any more."""
    machine = await make_machine()
    codes = await machine.begin()
    first, second = await depart(heart, codes["user_code"]), await depart(heart, codes["user_code"])
    with pytest.raises(UserCodeUnknown):
        await arrive(heart, first, await person.consent(first.url))
    await arrive(heart, second, await person.consent(second.url))
    assert sandbox.get("/counters").json()["token"]["authorization_code"]["ok"] == 1
    await machine.collect()


async def test_a_connection_that_was_switched_off_meanwhile_logs_nobody_in(
    make_machine: MakeMachine, heart: Heart, person: Person, raw_store: redis.Redis
) -> None:
    """Between the approval and the collection."""  # D6
    machine = await make_machine()
    approved = await approve(heart, person, (await machine.begin())["user_code"])
    raw_store.hset(names.record(approved.connection.id), "st", "disabled")
    assert await state_of(machine) == "access_denied"
    assert await heart.devices.life.sessions(approved.connection.id) == []


async def test_a_person_can_take_it_back_before_the_machine_collects(
    make_machine: MakeMachine, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """By their own page; what was connected for it alone is given back."""
    machine = await make_machine()
    approved = await approve(heart, person, (await machine.begin())["user_code"])
    managed = heart.devices.managed
    assert await managed.session(approved.manage_handle) is None
    made_up = approved.manage_handle[:-1] + ("A" if approved.manage_handle[-1] != "A" else "B")
    for handle in (made_up, "dh_x", approved.manage_handle.replace("dh_", "ch_")):
        with pytest.raises(NotFound):
            await managed.end(handle)
    await managed.end(approved.manage_handle)
    assert await state_of(machine) == "access_denied"
    with pytest.raises(NotFound):
        await managed.session(approved.manage_handle)
    assert await heart.devices.life.tidy(approved.connection.id) is None
    record = await heart.records.read(approved.connection.id)
    assert record is not None
    assert record.status == "revoked"


async def test_a_persons_page_is_over_with_the_login(make_machine: MakeMachine, heart: Heart, person: Person) -> None:
    """It shows the machine while it is logged in, and ends it once."""
    machine = await make_machine()
    approved = await approve(heart, person, (await machine.begin(device_name="build-7"))["user_code"])
    await machine.collect()
    session = await heart.devices.managed.session(approved.manage_handle)
    assert session is not None
    assert session.device_name == "build-7"
    await heart.devices.managed.end(approved.manage_handle)
    with pytest.raises(NotFound):
        await heart.devices.managed.session(approved.manage_handle)
    assert oauth_error_of(await machine.refresh()) == "invalid_grant"


async def test_a_code_serves_once(
    make_machine: MakeMachine, heart: Heart, person: Person, raw_store: redis.Redis
) -> None:
    """After the approval it leads nowhere, in any spelling."""
    machine = await make_machine()
    codes = await machine.begin()
    for spelling in (codes["user_code"].lower(), codes["user_code"].replace("-", ""), f" {codes['user_code']} "):
        authorization, _ = await heart.devices.approvals.find(spelling)  # RFC 8628 §6.1
        assert authorization.client_id == machine.client_id
    approved = await approve(heart, person, codes["user_code"])
    with pytest.raises(UserCodeUnknown):
        await heart.devices.approvals.find(codes["user_code"])
    # Even if the code's own key should have stayed behind.
    raw_store.set(names.user_code(codes["user_code"].replace("-", "")), approved.authorization.id)
    with pytest.raises(UserCodeUnknown):
        await heart.devices.approvals.find(codes["user_code"])


async def test_the_login_is_in_the_record(
    make_machine: MakeMachine, make_client: MakeClient, heart: Heart, person: Person, clock: FakeClock
) -> None:
    """Who logged in through which client, from where; no token stands in it."""  # K1
    machine = await make_machine()
    codes = await machine.begin(device_name="build-7")
    await approve(heart, person, codes["user_code"])
    clock.advance(seconds=1)
    tokens = await machine.collect()
    clock.advance(seconds=1)
    await machine.fetch()
    await heart.bookkeeping.settle_all()
    auditor: ServiceClient = await make_client("auditor")
    answer = await auditor.call("GET", f"/v1/connections/{tokens['connection_id']}/events")
    events: list[dict[str, Any]] = answer.json()["items"]
    assert [event["type"] for event in events] == ["token.released", "device.logged_in", "connection.created"]
    assert {event["client_id"] for event in events} == {machine.client_id}
    assert events[1]["data"]["device_name"] == "build-7"
    assert events[1]["data"]["address"] == "203.0.113.7"
    for secret in (tokens["access_token"], tokens["refresh_token"], digest(tokens["refresh_token"])):
        assert secret not in answer.text
