"""A machine that is logged in: its tokens rotate, reach one connection, and end with its login (RFC 9700 §4.14.2)."""

import asyncio
import json
from typing import Any, cast

import pytest
import redis

from broker.access.device_sessions import LIFETIME, _successor, parse_refresh_token
from broker.app.heart import Heart
from broker.vault import names
from tests.downstream.answers import code_of, oauth_error_of
from tests.downstream.oauth.calls import introspect
from tests.journey import MakeClient, everything_in
from tests.machine import Machine, MakeMachine, approve
from tests.world import FakeClock, Person, ServiceClient


@pytest.fixture
async def machine(make_machine: MakeMachine, heart: Heart, person: Person) -> Machine:
    """A public client's machine that is logged in."""
    made = await make_machine()
    await approve(heart, person, (await made.begin(device_name="build-7"))["user_code"])
    await made.collect()
    return made


def age(raw_store: redis.Redis, machine: Machine, milliseconds: int) -> None:
    """Let the last rotation be so much longer ago, by the store's clock."""
    key = names.device_sessions(machine.tokens["connection_id"])
    for name, stored in cast("dict[bytes, bytes]", raw_store.hgetall(key)).items():
        if name.startswith(b"ds_"):
            document = json.loads(stored)
            document["rotated_at"] -= milliseconds
            raw_store.hset(key, name.decode(), json.dumps(document))


def over(answer: Any) -> bool:
    """Whether the machine has to log in again."""
    return bool(answer.status_code == 400 and oauth_error_of(answer) == "invalid_grant")


async def test_a_refresh_brings_the_next_tokens(machine: Machine, clock: FakeClock) -> None:
    """Others than before; both broker tokens work until their time is over, the refresh token just once."""
    before = dict(machine.tokens)
    clock.advance(seconds=900)
    assert (await machine.fetch()).status_code == 401
    assert (await machine.refresh()).status_code == 200
    assert machine.tokens.keys() == before.keys()
    assert machine.tokens["connection_id"] == before["connection_id"]
    assert machine.tokens["access_token"] != before["access_token"]
    assert machine.tokens["refresh_token"] != before["refresh_token"]
    assert (await machine.fetch()).status_code == 200


async def test_a_lost_answer_costs_nothing(machine: Machine, raw_store: redis.Redis, clock: FakeClock) -> None:
    """The predecessor brings the same successor again, as long as that was not used and for a minute."""
    first = machine.tokens["refresh_token"]
    lost = (await machine.refresh(first)).json()
    age(raw_store, machine, 50_000)
    # A replica whose clock is far ahead: what counts is the store's.
    clock.advance(seconds=3600)
    again = await machine.refresh(first)
    assert again.status_code == 200
    assert again.json()["refresh_token"] == lost["refresh_token"]
    assert (await machine.refresh(lost["refresh_token"])).status_code == 200


async def test_two_programs_at_once_share_the_successor(machine: Machine) -> None:
    """Two git calls, ten of them: each gets a broker token that works, and all the same refresh token."""
    first = machine.tokens["refresh_token"]
    answers = await asyncio.gather(*(machine.refresh(first) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    for answer in answers:
        machine.tokens = answer.json()
        assert (await machine.fetch()).status_code == 200
    assert (await machine.refresh()).status_code == 200


@pytest.mark.parametrize("trigger", ["after a minute", "after its successor was used"])
async def test_a_refresh_token_that_comes_again_ends_the_login(
    machine: Machine, clock: FakeClock, heart: Heart, raw_store: redis.Redis, trigger: str
) -> None:
    """Somebody has a copy: everything of this login ends, the thief's part as well as the owner's."""
    stolen = machine.tokens["refresh_token"]
    await machine.refresh()
    if trigger == "after a minute":
        age(raw_store, machine, 60_001)
    else:
        await machine.refresh()
    assert over(await machine.refresh(stolen))
    assert over(await machine.refresh())
    await heart.authenticator.revalidate()
    assert (await machine.fetch()).status_code == 401
    assert b"device.refresh_token_reused" in everything_in(raw_store)


async def test_one_long_used_ends_it_too(machine: Machine, clock: FakeClock) -> None:
    """However many refreshes ago: a thief can't hide by refreshing often."""
    oldest = machine.tokens["refresh_token"]
    for _ in range(100):
        await machine.refresh()
    assert over(await machine.refresh(oldest))
    assert over(await machine.refresh())


async def test_a_made_up_refresh_token_ends_nobodys_login(machine: Machine) -> None:
    """Whoever knows the connection's id, and even the session's, can't name the session by a token."""
    body = machine.tokens["connection_id"].partition("_")[2]
    own = machine.tokens["refresh_token"]
    for made_up in (
        f"brt_{body}_{'A' * 43}_{'B' * 43}",
        own[:-1],
        own + "A",
        own.replace("brt_", "bat_"),
        own.rpartition("_")[0],
        "brt___",
    ):
        assert over(await machine.refresh(made_up)), made_up
    assert (await machine.refresh(own)).status_code == 200


async def test_another_client_can_neither_use_nor_end_it(machine: Machine, make_machine: MakeMachine) -> None:
    """Refresh tokens are bound to their client (RFC 6749 §6); what it brings is not reuse."""
    thief = await make_machine()
    assert over(await thief.refresh(machine.tokens["refresh_token"]))
    assert (await thief.log_out(machine.tokens["refresh_token"])).status_code == 200
    assert (await thief.log_out(machine.tokens["access_token"])).status_code == 200
    assert (await machine.refresh()).status_code == 200
    assert (await machine.fetch()).status_code == 200


async def test_a_session_lives_for_ninety_days_from_its_last_use(machine: Machine, clock: FakeClock) -> None:
    """Each refresh counts anew; then it is over, though nobody ended it."""
    for _ in range(3):
        clock.advance(seconds=LIFETIME / 1000 - 1)
        assert (await machine.refresh()).status_code == 200
    clock.advance(seconds=LIFETIME / 1000)
    assert over(await machine.refresh())


async def test_scopes_can_be_narrowed_for_one_token(make_machine: MakeMachine, heart: Heart, person: Person) -> None:
    """RFC 6749 §6; more than at the login is refused, and a scope mistyped doesn't cost the refresh token."""
    machine = await make_machine(scopes=("tokens:read", "connections:read", "proxy"))
    await approve(heart, person, (await machine.begin(scope="tokens:read connections:read"))["user_code"])
    tokens = await machine.collect()
    assert tokens["scope"] == "connections:read tokens:read"
    for scope in ("proxy", "nonsense", "tokens:read admin"):
        assert oauth_error_of(await machine.refresh(scope=scope)) == "invalid_scope"
    assert (await machine.refresh(scope="connections:read")).json()["scope"] == "connections:read"
    assert code_of(await machine.fetch()) == "insufficient_scope"
    assert (await machine.refresh()).json()["scope"] == "connections:read tokens:read"


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
async def test_revoking_logs_the_machine_out(machine: Machine, heart: Heart, clock: FakeClock, which: str) -> None:
    """Either token (RFC 7009): both are over at once here, and within seconds in other processes."""  # S13
    assert (await machine.fetch()).status_code == 200
    assert (await machine.log_out(machine.tokens[which])).status_code == 200
    assert over(await machine.refresh())
    await heart.authenticator.revalidate()
    assert (await machine.fetch()).status_code == 401


async def test_taking_back_what_nobody_has_is_counted_for_who_only_says_who_it_is(machine: Machine) -> None:
    """The answer stays 200 (RFC 7009 §2.2), but anybody could ask for ever."""  # D1
    statuses = [(await machine.log_out("bat_made_up")).status_code for _ in range(125)]
    assert statuses == [200] * 120 + [429] * 5


async def test_the_connection_of_a_login_alone_ends_with_its_last_machine(
    machine: Machine, heart: Heart, make_machine: MakeMachine, person: Person
) -> None:
    """What a client ordered for a subject stays: its services may use it."""
    service = await make_machine(public=False)
    await approve(heart, person, (await service.begin(subject="ann"))["user_code"])
    await service.collect()
    statuses = []
    for each in (machine, service):
        await each.log_out()
        await heart.devices.life.tidy(each.tokens["connection_id"])
        record = await heart.records.read(each.tokens["connection_id"])
        statuses.append(record and record.status)
    assert statuses == ["revoked", "active"]


async def test_a_disconnected_connection_ends_its_machines(machine: Machine, heart: Heart) -> None:
    """In the same step: no token of theirs outlives it."""
    record = await heart.records.read(machine.tokens["connection_id"])
    assert record is not None
    await heart.lifecycle.disconnect(record, client_id=None, request_id=None)
    assert over(await machine.refresh())
    await heart.authenticator.revalidate()
    assert (await machine.fetch()).status_code == 401


async def test_the_clients_end_is_the_machines_end(machine: Machine, heart: Heart) -> None:
    """A client that is deleted, or whose tokens were ended, has no machine that is logged in."""  # S13, D6
    await heart.clients.end_tokens(machine.client_id)
    assert over(await machine.refresh())
    await heart.authenticator.revalidate()
    assert (await machine.fetch()).status_code == 401
    await heart.clients.delete(machine.client_id)
    assert (await machine.refresh()).status_code == 401


async def test_the_standard_exchange_takes_a_machines_own_token(machine: Machine, heart: Heart) -> None:
    """RFC 8693, by a public client: its own token is the proof, and leads to one connection."""
    answer = await machine.exchange()
    assert answer.status_code == 200, answer.text
    assert answer.json()["connection_id"] == machine.tokens["connection_id"]
    assert answer.json()["access_token"] == (await machine.fetch()).json()["access_token"]
    for form in ({"audience": "x"}, {"resource": "https://x.example"}):
        assert oauth_error_of(await machine.exchange(**form)) == "invalid_target"


async def test_the_exchange_takes_no_other_token(
    machine: Machine, make_machine: MakeMachine, make_client: MakeClient
) -> None:
    """A service's token is bound to no connection, another client's is not the caller's; a refresh token is none."""
    app = await make_client("app")
    stranger = await make_machine()
    for token in ("bat_made_up", await app.broker_token(), machine.tokens["refresh_token"]):
        assert oauth_error_of(await machine.exchange(token)) == "invalid_request"
    assert oauth_error_of(await stranger.exchange(machine.tokens["access_token"])) == "invalid_request"


async def test_a_public_client_can_do_nothing_but_log_in(machine: Machine, make_client: MakeClient) -> None:
    """It has proven nothing: no token of its own, no reference, no look at tokens."""  # S8
    app = await make_client("app")
    for form in ({"grant_type": "client_credentials"}, {"grant_type": "client_credentials", "scope": "tokens:read"}):
        assert oauth_error_of(await machine.post("/oauth/token", **form)) == "unauthorized_client"
    order = {"audience": machine.client_id}
    path = f"/v1/connections/{machine.tokens['connection_id']}/references"
    reference = (await app.call("POST", path, order)).json()["reference"]
    redeeming = {"subject_token": reference, "subject_token_type": "urn:broker:token-type:reference"}
    assert oauth_error_of(await machine.exchange(**redeeming)) == "unauthorized_client"
    answer = await machine.post("/oauth/introspect", token=machine.tokens["access_token"])
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


async def test_introspection_says_what_a_machines_tokens_are(
    make_machine: MakeMachine, heart: Heart, person: Person, make_client: MakeClient
) -> None:
    """To their own client alone (RFC 7662); a refresh token that was replaced is not active."""
    machine = await make_machine(public=False)
    await approve(heart, person, (await machine.begin(subject="ann"))["user_code"])
    tokens = await machine.collect()
    owner = ServiceClient(machine.http, machine.client_id, machine.secret)
    bound = (await introspect(owner, tokens["access_token"])).json()
    assert (bound["active"], bound["sub"], bound["connection_id"]) == (True, "ann", tokens["connection_id"])
    refresh_token = (await introspect(owner, tokens["refresh_token"])).json()
    assert (refresh_token["active"], refresh_token["token_type"]) == (True, "refresh_token")
    await machine.refresh()
    assert (await introspect(owner, tokens["refresh_token"])).json() == {"active": False}
    other = await make_client("other")
    for token in (machine.tokens["access_token"], machine.tokens["refresh_token"]):
        assert (await introspect(other, token)).json() == {"active": False}


async def test_the_exchange_takes_the_scope_of_a_token_that_fetches(
    make_machine: MakeMachine, heart: Heart, person: Person
) -> None:
    """``tokens:read``, or ``references:redeem``, which is what an exchange is; with neither there is no token."""  # S5
    machine = await make_machine(scopes=("connections:read", "tokens:read", "references:redeem"))
    await approve(heart, person, (await machine.begin())["user_code"])
    await machine.collect()
    for scope, status in (("tokens:read", 200), ("references:redeem", 200), ("connections:read", 400)):
        await machine.refresh(scope=scope)
        answer = await machine.exchange()
        assert (scope, answer.status_code) == (scope, status)
    assert answer.json()["code"] == "insufficient_scope"


async def test_what_nobody_uses_any_more_is_looked_at(
    machine: Machine, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """At the session's own end, which each refresh puts off; at once when it is ended, by whomever."""
    connection_id = machine.tokens["connection_id"]

    def due() -> int:
        return int(raw_store.zscore(names.due(connection_id), f"abandon:{connection_id}") or 0)

    assert due() == clock.now + LIFETIME
    clock.advance(seconds=1000)
    used = machine.tokens["refresh_token"]
    await machine.refresh()
    assert due() == clock.now + LIFETIME
    clock.advance(seconds=1000)
    age(raw_store, machine, 60_001)
    await machine.refresh(used)
    assert due() == clock.now
    raw_store.zrem(names.due(connection_id), f"abandon:{connection_id}")


async def test_logging_out_has_the_connection_looked_at(
    machine: Machine, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """At once: what is there for machines alone ends with the last one."""
    connection_id = machine.tokens["connection_id"]
    clock.advance(seconds=1000)
    await machine.log_out()
    assert raw_store.zscore(names.due(connection_id), f"abandon:{connection_id}") == clock.now


def test_a_successor_is_told_to_nobody_who_lacks_its_predecessor() -> None:
    """The store holds the salt; the token itself is the key."""  # K1
    body, family = "0" * 22, "F" * 43
    handles = {secret: f"brt_{body}_{family}_{secret * 43}" for secret in "AB"}
    parsed = parse_refresh_token(handles["A"])
    assert parsed is not None
    successors = {_successor(parsed, token, "salt") for token in handles.values()}
    assert len(successors) == 2
    assert all(parse_refresh_token(successor) for successor in successors)


async def test_no_token_of_a_machine_lies_in_the_store(machine: Machine, raw_store: redis.Redis) -> None:
    """Neither its own nor its successor: a copy of the store logs nobody in."""  # K1, S7
    used = machine.tokens["refresh_token"]
    await machine.refresh()
    stored = everything_in(raw_store)
    for token in (used, machine.tokens["refresh_token"], machine.tokens["access_token"]):
        assert token.encode() not in stored
        assert token.rpartition("_")[2].encode() not in stored
    assert raw_store.hlen(names.device_sessions(machine.tokens["connection_id"])) == 2


async def test_machines_are_seen_and_ended_by_whoever_may_change_the_connection(
    machine: Machine, make_client: MakeClient, heart: Heart
) -> None:
    """A service shows them to its user: what calls itself how, from where, since when; never a token."""
    app = await make_client("app")
    path = f"/v1/connections/{machine.tokens['connection_id']}/device-sessions"
    answer = await app.call("GET", path)
    (shown,) = answer.json()["items"]
    assert (shown["device_name"], shown["address"], shown["client_id"]) == (
        "build-7",
        "203.0.113.7",
        machine.client_id,
    )
    assert "brt_" not in answer.text
    assert (await app.call("DELETE", f"{path}/{shown['id']}")).json() == {"id": shown["id"], "status": "ended"}
    assert over(await machine.refresh())
    assert (await app.call("DELETE", f"{path}/{shown['id']}")).status_code == 404
    assert (await app.call("GET", path)).json()["items"] == []
