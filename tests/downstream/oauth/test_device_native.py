"""The device grant through a provider that has one itself: its code is handed on, and asked about in its own time."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.authorization import Authorizations
from broker.connections.detached import Detached
from broker.connections.device_poll import DevicePolls
from broker.errors import StoreUnavailable
from broker.models.connection import Connection
from broker.providers import Registry
from tests.downstream.answers import oauth_error_of
from tests.journey import everything_in
from tests.machine import Machine, MakeMachine
from tests.waiting import eventually
from tests.world import PUBLIC_URL, FakeClock

Pass = Callable[[float], None]
"""The ``seconds_pass`` fixture."""


@pytest.fixture
def seconds_pass(clock: FakeClock, sandbox: httpx2.Client) -> Pass:
    """Lets time pass at the broker and at the provider."""
    passed = 0.0

    def go(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        clock.advance(seconds=seconds)
        sandbox.post("/control", json={"clock_ahead": int(passed)}).raise_for_status()

    return go


def asked(sandbox: httpx2.Client) -> dict[str, int]:
    """How the provider answered when it was asked about device codes."""
    polls: dict[str, int] = sandbox.get("/counters").json()["device_polls"]
    return {outcome: count for outcome, count in polls.items() if count}


def early(sandbox: httpx2.Client) -> int:
    """How often the provider was asked before its interval was over."""
    return int(sandbox.get("/counters").json()["early_polls"])


def answer_there(sandbox: httpx2.Client, machine: Machine, decision: str = "approve") -> None:
    """The person answers on the provider's own page."""
    sandbox.post("/control", json={f"{decision}_device": machine.codes["user_code"]}).raise_for_status()


async def state_of(machine: Machine) -> str:
    """What the machine is told now."""
    answer = await machine.poll()
    assert answer.status_code == 400, answer.text
    return oauth_error_of(answer)


async def until_asked(sandbox: httpx2.Client) -> None:
    """Wait until the provider has said yes."""
    await eventually(lambda: "ok" in asked(sandbox))


@pytest.fixture
async def machine(make_machine: MakeMachine, sandbox: httpx2.Client) -> Machine:
    """A machine that has begun a login."""
    made = await make_machine()
    await made.begin("practice-native", device_name="build-7")
    return made


async def test_the_providers_own_code_and_page_are_handed_on(
    machine: Machine, sandbox_url: str, raw_store: redis.Redis
) -> None:
    """Its device code is not: the machine gets one of ours, and the provider's lies sealed in the store."""  # K1
    codes = machine.codes
    assert codes["verification_uri"].startswith(sandbox_url)
    assert codes["user_code"] in codes["verification_uri_complete"]
    assert codes["device_code"].startswith("dc_")
    assert (codes["expires_in"], codes["interval"]) == (900, 5)
    assert PUBLIC_URL not in codes["verification_uri_complete"]
    assert b"user_code:" not in everything_in(raw_store)


async def test_a_machine_is_logged_in_once_the_provider_says_so(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass
) -> None:
    """And not before; the provider is asked in its own interval, and each time just once."""  # D2
    assert await state_of(machine) == "authorization_pending"
    assert asked(sandbox) == {}
    seconds_pass(5)
    assert await state_of(machine) == "authorization_pending"
    answer_there(sandbox, machine)
    seconds_pass(5)
    tokens = await machine.collect()
    assert (await machine.fetch()).json()["connection_id"] == tokens["connection_id"]
    assert asked(sandbox) == {"pending": 1, "ok": 1}
    assert early(sandbox) == 0


@pytest.mark.parametrize(("decision", "error"), [("deny", "access_denied"), (None, "expired_token")])
async def test_the_providers_no_and_its_end_are_told(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass, decision: str | None, error: str
) -> None:
    """As RFC 8628 §3.5 has them; the provider isn't asked again."""  # D2
    if decision:
        answer_there(sandbox, machine, decision)
        seconds_pass(5)
    else:
        seconds_pass(901)
    assert await state_of(machine) == error
    known = asked(sandbox)
    seconds_pass(20)
    assert await state_of(machine) == error
    assert asked(sandbox) == known


async def test_a_machine_in_a_hurry_does_not_hurry_the_provider(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass
) -> None:
    """Fifty polls at once, and one each second: the provider sees one every five seconds."""  # D2
    await asyncio.gather(*(machine.poll() for _ in range(50)))
    for _ in range(12):
        seconds_pass(1)
        await machine.poll()
    assert sum(asked(sandbox).values()) <= 2
    assert early(sandbox) == 0


async def test_the_providers_slow_down_is_respected(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass
) -> None:
    """Five seconds more each time, for good (§3.5), though the machine goes on polling at its own pace."""  # D2
    sandbox.post("/control", json={"device_slow_downs": 2}).raise_for_status()
    for _ in range(24):
        seconds_pass(5)
        assert await state_of(machine) == "authorization_pending"
    # After 5 and 15 seconds it said so; from then on it was asked every 15.
    assert asked(sandbox) == {"slow_down": 2, "pending": 7}
    assert early(sandbox) == 0
    answer_there(sandbox, machine)
    seconds_pass(15)
    await machine.collect()


async def test_many_polls_at_the_approval_get_one_login(
    machine: Machine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass
) -> None:
    """The provider's yes comes once, and so does ours."""  # D3
    answer_there(sandbox, machine)
    seconds_pass(5)
    answers = await asyncio.gather(*(machine.poll() for _ in range(20)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {oauth_error_of(answer) for answer in answers if answer not in won} <= {"invalid_grant", "slow_down"}
    assert asked(sandbox) == {"ok": 1}
    assert len(await heart.devices.life.sessions(won[0].json()["connection_id"])) == 1


async def test_a_machine_that_hangs_up_loses_nothing(
    machine: Machine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass
) -> None:
    """The provider's answer is taken in although nobody waits for it, and collected with the next poll."""  # F2
    answer_there(sandbox, machine)
    seconds_pass(5)
    sandbox.post("/control", json={"hold_token_answers": True}).raise_for_status()
    poll = asyncio.create_task(machine.poll())
    await until_asked(sandbox)
    poll.cancel()
    sandbox.post("/control", json={"hold_token_answers": False}).raise_for_status()
    assert await heart.devices.polls.drain(60) == 0
    seconds_pass(5)
    await machine.collect()
    assert asked(sandbox) == {"ok": 1}


@pytest.mark.parametrize("fault", ["status_500", "busy", "html", "cut"])
async def test_a_provider_in_trouble_is_asked_again_less_often(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass, fault: str
) -> None:
    """Before it did anything: the machine waits, and the login comes when the provider is well (RFC 8628 §3.5)."""
    # P2, P8
    sandbox.post("/control", json={"token_fault": fault, "faults_left": 2}).raise_for_status()
    answer_there(sandbox, machine)
    for _ in range(3):
        seconds_pass(5)
        assert await state_of(machine) == "authorization_pending"
    for _ in range(20):
        seconds_pass(5)
        answer = await machine.poll()
        if answer.status_code == 200:
            break
    assert answer.status_code == 200
    assert early(sandbox) == 0


async def test_who_dies_after_the_providers_yes_loses_nothing(
    machine: Machine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is there, and nobody could say so: whoever asks next finds it."""  # F1, R3
    answer_there(sandbox, machine)
    seconds_pass(5)

    async def dies(*_args: object, **_change: object) -> bool:
        raise StoreUnavailable("gone at the worst moment")

    with monkeypatch.context() as patched:
        patched.setattr(DevicePolls, "_settle", dies)
        assert (await machine.poll()).status_code == 503
    seconds_pass(6)
    assert await state_of(machine) == "authorization_pending"  # it may still be at it
    seconds_pass(60)
    await machine.collect()
    assert asked(sandbox) == {"ok": 1}


async def test_who_was_held_up_takes_nothing_from_a_machine_that_is_logged_in(
    machine: Machine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It made the connection and was stopped; another process found it, and the machine uses it by now."""  # F6
    answer_there(sandbox, machine)
    seconds_pass(5)
    held, go = asyncio.Event(), asyncio.Event()
    settle = DevicePolls._settle

    async def held_up(self: DevicePolls, *arguments: Any, **change: Any) -> bool:
        if not held.is_set():
            held.set()
            await go.wait()
        return await settle(self, *arguments, **change)

    monkeypatch.setattr(DevicePolls, "_settle", held_up)
    first = asyncio.create_task(machine.poll())
    await held.wait()
    # Another process: this one's polls would join the one that is held up.
    monkeypatch.setattr(heart.devices.polls, "_running", Detached())
    seconds_pass(61)
    tokens = await machine.collect()
    go.set()
    await first
    record = await heart.records.read(tokens["connection_id"])
    assert record is not None
    assert record.status == "active"
    assert (await machine.refresh()).status_code == 200


async def test_a_yes_that_comes_too_late_is_given_back(
    make_machine: MakeMachine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was ordered for a subject: no machine will ever collect it."""
    machine = await make_machine(public=False)
    await machine.begin("practice-native", subject="ann")
    answer_there(sandbox, machine)
    seconds_pass(870)  # the provider has real time, too: no test gets there by itself
    store = Authorizations.store

    async def slow(self: Authorizations, *arguments: Any) -> Connection:
        seconds_pass(31)
        return await store(self, *arguments)

    monkeypatch.setattr(Authorizations, "store", slow)
    assert await state_of(machine) == "expired_token"
    assert sandbox.get("/counters").json()["revoke"] == 1


async def test_machines_that_wait_keep_nobody_from_giving_a_grant_back(
    make_machine: MakeMachine, sandbox: httpx2.Client, heart: Heart, seconds_pass: Pass
) -> None:
    """Where revoking ends a grant, what is being connected is announced; a person who never comes is not."""  # P9
    machine = await make_machine()
    await machine.begin("practice-native-shared")
    answer_there(sandbox, machine)
    seconds_pass(5)
    connection_id = (await machine.collect())["connection_id"]
    waiting = await make_machine()
    await waiting.begin("practice-native-shared")
    sandbox.post("/control", json={"hold_token_requests": True}).raise_for_status()
    seconds_pass(5)
    poll = asyncio.create_task(waiting.poll())
    await eventually(lambda: sandbox.get("/counters").json()["token_waiting"] == 1)
    record = await heart.records.read(connection_id)
    assert record is not None
    ending = await heart.lifecycle.disconnect(record, client_id=None, request_id=None)
    assert ending.outcome == "revoked"
    sandbox.post("/control", json={"hold_token_requests": False}).raise_for_status()
    assert (await poll).status_code == 400


async def test_a_provider_that_is_gone_ends_the_login(
    machine: Machine, heart: Heart, seconds_pass: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out of the providers file while a machine waits."""
    seconds_pass(5)
    monkeypatch.setattr(heart.devices.polls, "_providers", Registry([]))
    answer = await machine.poll()
    assert oauth_error_of(answer) == "access_denied"
    assert "no longer" in answer.json()["error_description"]


async def test_what_the_provider_refuses_ends_the_login(
    machine: Machine, sandbox: httpx2.Client, seconds_pass: Pass
) -> None:
    """With the reason, which holds no secret."""
    sandbox.post("/control", json={"token_fault": "invalid_client", "faults_left": 1}).raise_for_status()
    seconds_pass(5)
    answer = await machine.poll()
    assert oauth_error_of(answer) == "access_denied"
    assert "invalid_client" in answer.json()["error_description"]


async def test_scopes_that_its_device_grant_does_not_take_go_by_our_page(
    make_machine: MakeMachine, sandbox: httpx2.Client
) -> None:
    """Beyond the allowlist, or refused by the provider itself; where native is the only way, that's an error."""
    machine = await make_machine(public=False)
    ours = f"{PUBLIC_URL}/device"
    beyond: dict[str, Any] = await machine.begin("practice-native", provider_scope="profile messages.send")
    assert beyond["verification_uri"] == ours
    sandbox.post("/control", json={"device_scopes": ["profile"]}).raise_for_status()
    assert (await machine.begin("practice-native"))["verification_uri"] == ours
    assert (await machine.begin("practice-native", provider_scope="profile"))["verification_uri"] != ours
    answer = await machine.ask("practice-native-alone", provider_scope="profile messages.read")
    assert oauth_error_of(answer) == "invalid_scope"
    assert (await machine.begin("practice-native-alone", provider_scope="profile"))["verification_uri"] != ours


async def test_device_login_can_be_switched_off_for_a_provider(make_machine: MakeMachine) -> None:
    """``device: {mode: off}``."""
    machine = await make_machine()
    assert oauth_error_of(await machine.ask("practice-no-device")) == "invalid_request"
