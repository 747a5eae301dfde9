"""Every way of proving who one is × every client scope × every tenant, walked over every route that asks.

A grant is how a client came by its broker token, and how it authenticates at the OAuth face: none of them may lend
more than another.
"""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
import redis

from broker.models.access import CLIENT_SCOPES
from broker.models.ids import bearing_secret, new_id, new_secret
from tests.downstream.answers import code_of, nameless, oauth_error_of
from tests.downstream.members import GRANTS, MakeMember, Member
from tests.downstream.oauth.calls import INACTIVE, reference_for
from tests.downstream.rows import CLIENT, ROWS, UNKNOWN, Scene
from tests.journey import written
from tests.world import ServiceClient


@pytest.fixture(params=GRANTS)
def grant(request: pytest.FixtureRequest) -> str:
    """How a client proves who it is."""
    return str(request.param)


@pytest.mark.parametrize("scope", CLIENT_SCOPES)
async def test_a_scope_opens_its_own_routes_and_no_other(
    scene: Scene,
    make_member: MakeMember,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    grant: str,
    scope: str,
) -> None:
    """Whether the client has no more, or its token; where it lacks, nothing happens."""  # S5
    narrow, narrowed = await make_member(grant, scopes=(scope,)), await make_member(grant)
    await narrowed.sign_in(scope)
    opened = {route for route, row in ROWS.items() if row.scope in {None, scope}}
    for member in (narrow, narrowed):
        before, asked = written(raw_store), sandbox.get("/counters").json()
        refusals = {route: await _call(member, scene, route) for route in ROWS if route not in opened}
        assert {route: (answer.status_code, code_of(answer)) for route, answer in refusals.items()} == dict.fromkeys(
            refusals, (403, "insufficient_scope")
        )
        assert written(raw_store) == before
        assert sandbox.get("/counters").json() == asked
        answers = {route: (await _call(member, scene, route)).status_code for route in opened}
        assert not {route: status for route, status in answers.items() if status in {401, 403} or status >= 500}


async def test_the_exchange_takes_the_clients_own_scope(
    app: ServiceClient, connection: dict[str, Any], make_member: MakeMember, raw_store: redis.Redis, grant: str
) -> None:
    """At the OAuth face what counts is what the client was given. Asking about a token and taking it back is
    everybody's whose it is (RFC 7662 §2.1, RFC 7009 §2.1)."""
    for scope in CLIENT_SCOPES:
        member = await make_member(grant, scopes=(scope,))
        reference = await reference_for(app, connection, member)
        assert (await member.introspect(reference)).json()["active"] is True
        before = written(raw_store)
        answer = await member.redeem(reference)
        if scope == "references:redeem":
            assert answer.status_code == 200
        else:
            assert (answer.status_code, oauth_error_of(answer)) == (400, "unauthorized_client")
            assert written(raw_store) == before
        assert (await member.revoke(reference)).status_code == 200
        assert (await member.introspect(reference)).content == INACTIVE


async def test_no_grant_lends_a_scope_that_the_client_lacks(make_member: MakeMember, grant: str) -> None:
    """Alone or beside one that it has (RFC 6749 §5.2)."""
    for lacking in CLIENT_SCOPES:
        held = tuple(scope for scope in CLIENT_SCOPES if scope != lacking)
        member = await make_member(grant, scopes=held)
        for scope in (lacking, f"{held[0]} {lacking}", f"{held[0]} everything"):
            answer = await member.post("/oauth/token", grant_type="client_credentials", scope=scope)
            assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_scope")


BEYOND: Mapping[str, tuple[dict[str, Any], list[str]]] = {
    "another tenant": (
        {"tenant": "elsewhere"},
        [route for route, row in ROWS.items() if row.target not in {None, "provider"}],
    ),
    "a provider not given": (
        {"providers": ("practice-two",)},
        [route for route, row in ROWS.items() if row.target is not None and row.not_given == 404],
    ),
}


@pytest.mark.parametrize("reach", BEYOND)
async def test_what_lies_beyond_a_clients_reach_does_not_exist(
    scene: Scene, make_member: MakeMember, raw_store: redis.Redis, sandbox: httpx2.Client, grant: str, reach: str
) -> None:
    """On every route that is about something: byte for byte the answer for what is nowhere. Nothing is written, the
    provider is not asked."""  # S5
    given, hidden = BEYOND[reach]
    stranger = await make_member(grant, **given)
    before, asked = written(raw_store), sandbox.get("/counters").json()
    foreign = {route: await _call(stranger, scene, route) for route in hidden}
    assert {route: (answer.status_code, code_of(answer)) for route, answer in foreign.items()} == dict.fromkeys(
        hidden, (404, "not_found")
    )
    for route in hidden:
        kind = ROWS[route].target
        assert kind is not None
        assert nameless(foreign[route]) == nameless(await _call(stranger, scene, route, UNKNOWN[kind]))
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked


@pytest.mark.parametrize("reach", [{"tenant": "elsewhere"}, {}], ids=["another tenant", "beside"])
async def test_tokens_of_others_are_unknown_tokens(
    app: ServiceClient, connection: dict[str, Any], make_member: MakeMember, raw_store: redis.Redis,
    sandbox: httpx2.Client, grant: str, reach: dict[str, Any],
) -> None:  # fmt: skip
    """Neither redeemed, nor told about, nor taken back, by whatever grant: the answers are those for what nobody
    issued."""  # S5, S7
    stranger = await make_member(grant, **reach)
    reference, token = await reference_for(app, connection, app), await app.broker_token()
    made_up = [bearing_secret("ref", connection["id"]), bearing_secret("ref", new_id("con")), new_secret("bat")]
    before, asked = written(raw_store), sandbox.get("/counters").json()
    unknown = await stranger.redeem(made_up[1])
    assert oauth_error_of(unknown) == "invalid_request"
    assert nameless(await stranger.redeem(reference)) == nameless(unknown)
    assert nameless(await stranger.redeem(made_up[0])) == nameless(unknown)
    for foreign in (reference, token, *made_up):
        told, taken = await stranger.introspect(foreign), await stranger.revoke(foreign)
        assert (told.status_code, told.content) == (200, INACTIVE)
        assert (taken.status_code, taken.content) == (200, b"")
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked
    assert (await app.redeem(reference)).status_code == 200
    assert (await app.call("GET", "/v1/connections")).status_code == 200


@pytest.mark.parametrize("route", sorted(CLIENT))
async def test_a_broker_token_is_no_proof_at_the_oauth_face(
    make_member: MakeMember, raw_store: redis.Redis, grant: str, route: str
) -> None:
    """By whatever grant it was issued: a stolen one can't be made into a fresh one, nor be asked about, nor revoked."""
    member = await make_member(grant)
    before = written(raw_store)
    headers = {"Authorization": f"Bearer {member.token}"}
    for form in ({}, {"client_id": member.client_id}):
        body = {"grant_type": "client_credentials", "token": member.token, **form}
        answer = await member.http.post(route.partition(" ")[2], data=body, headers=headers)
        assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")
    assert written(raw_store) == before


async def _call(member: Member, scene: Scene, route: str, target: str | None = None) -> httpx2.Response:
    return await member.call(*scene.path(route, target), ROWS[route].body)
