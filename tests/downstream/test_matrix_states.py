"""Every route and grant × every state that a connection, a broker token, a reference or a session can be in.

What each is worth in each state stands in tables; a call that is refused has written nothing and asked nobody.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.ids import digest
from broker.vault import names
from tests.access.stored import rewrite
from tests.downstream.answers import code_of, nameless, oauth_error_of
from tests.downstream.members import GRANTS, MakeMember, Member
from tests.downstream.oauth.calls import INACTIVE, reference_for
from tests.downstream.rows import ROWS, STATES, UNKNOWN, Scene
from tests.journey import MakeClient, snapshot, written
from tests.world import FakeClock, Person, ServiceClient

OF_A_CONNECTION = [route for route, row in ROWS.items() if row.target == "connection"]
REFUSED_AS = {
    "reauth_required": "reauth_required",
    "disabled": "conflict",
    "revoked": "reauth_required",
    "gone": "not_found",
}


@pytest.fixture(params=GRANTS)
def grant(request: pytest.FixtureRequest) -> str:
    """How a client proves who it is."""
    return str(request.param)


def become(raw_store: redis.Redis, connection_id: str, state: str) -> None:
    """Put a connection into a state."""
    if state == "gone":
        raw_store.delete(names.record(connection_id))
    else:
        raw_store.hset(names.record(connection_id), "st", state)


def test_every_route_about_a_connection_says_what_it_is_worth_in_each_state() -> None:
    """A route that is added says it, too."""
    assert {route: len(ROWS[route].states) for route in OF_A_CONNECTION} == dict.fromkeys(OF_A_CONNECTION, len(STATES))


@pytest.mark.parametrize("route", OF_A_CONNECTION)
async def test_what_a_connection_is_worth(
    scene: Scene, raw_store: redis.Redis, sandbox: httpx2.Client, route: str
) -> None:
    """In each state the status and the code; where it is refused, nothing is written and the provider not asked."""
    method, path = scene.path(route)
    body = {"audience": scene.app.client_id} if route.endswith("/references") else ROWS[route].body
    nowhere = await scene.app.call(method, scene.path(route, UNKNOWN["connection"])[1], body)
    expected = dict(zip(STATES, ROWS[route].states, strict=True))
    # Last the ones that can't be undone.
    for state in sorted(STATES, key=["disabled", "reauth_required", "active", "revoked", "gone"].index):
        become(raw_store, scene.targets["connection"], state)
        before, asked = written(raw_store), sandbox.get("/counters").json()
        answer = await scene.app.call(method, path, body)
        assert (state, answer.status_code) == (state, expected[state])
        if answer.status_code >= 400:
            # What a route names besides the connection is nowhere here, whatever the connection is worth.
            assert code_of(answer) == ("not_found" if answer.status_code == 404 else REFUSED_AS[state])
            assert written(raw_store) == before
            assert sandbox.get("/counters").json() == asked
        if state == "gone":
            assert nameless(answer) == nameless(nowhere)


async def test_what_a_connections_reference_is_worth(
    app: ServiceClient,
    connection: dict[str, Any],
    make_member: MakeMember,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    grant: str,
) -> None:
    """One that was issued while all was well: it opens an active connection only, by any grant."""  # S7
    member = await make_member(grant)
    reference = await reference_for(app, connection, member, max_uses=3)
    for state in STATES:
        become(raw_store, connection["id"], state)
        before, asked = written(raw_store), sandbox.get("/counters").json()
        told, answer = await member.introspect(reference), await member.redeem(reference)
        if state == "active":
            assert answer.json()["access_token"].startswith("pat_")
            assert told.json()["remaining_uses"] == 3
            continue
        assert told.content == INACTIVE
        assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
        assert answer.json().get("code") == {**REFUSED_AS, "gone": None}[state]
        assert written(raw_store) == before
        assert sandbox.get("/counters").json() == asked


Ends = Callable[["Case"], Awaitable[None]]


class Case:
    """A client and something that it holds, and what can happen to both."""

    def __init__(self, heart: Heart, raw_store: redis.Redis, clock: FakeClock, member: Member) -> None:
        self.heart = heart
        self.raw_store = raw_store
        self.clock = clock
        self.member = member
        self.reference = ""

    async def nothing(self) -> None:
        """It stays as it is."""

    async def time_passes(self) -> None:
        """Longer than a broker token or a reference lives."""
        self.clock.advance(seconds=901)

    async def the_token_is_revoked(self) -> None:
        """By its own client."""
        await self.member.revoke(self.member.token)

    async def the_client_is_deleted(self) -> None:
        """By the operator."""
        await self.heart.clients.delete(self.member.client_id)

    async def the_client_is_cut_off(self) -> None:
        """As when its secret leaked: what was issued until now counts no longer."""
        rewrite(self.raw_store, names.client(self.member.client_id), tokens_from=self.clock.now)

    async def the_client_moves(self) -> None:
        """Its record says another tenant."""
        rewrite(self.raw_store, names.client(self.member.client_id), tenant="elsewhere")

    async def the_client_is_nobodys(self) -> None:
        """Its record says no tenant."""
        rewrite(self.raw_store, names.client(self.member.client_id), tenant="")

    async def the_token_is_nobodys(self) -> None:
        """The token's record says no tenant."""
        rewrite(self.raw_store, names.broker_token(digest(self.member.token)), tenant=None)

    async def the_reference_is_spent(self) -> None:
        """By redeeming it as often as it may be."""
        await self.member.redeem(self.reference)

    async def the_reference_is_revoked(self) -> None:
        """By its audience."""
        await self.member.revoke(self.reference)


TOKEN_ENDS: Mapping[str, Ends] = {
    "expired": Case.time_passes,
    "revoked": Case.the_token_is_revoked,
    "of a deleted client": Case.the_client_is_deleted,
    "of a client that was cut off": Case.the_client_is_cut_off,
    "of a client of another tenant": Case.the_client_moves,
    "of a client without a tenant": Case.the_client_is_nobodys,
    "without a tenant": Case.the_token_is_nobodys,
}
REFERENCE_ENDS: Mapping[str, Ends] = {
    "expired": Case.time_passes,
    "spent": Case.the_reference_is_spent,
    "revoked": Case.the_reference_is_revoked,
}


@pytest.fixture
async def case(
    heart: Heart, raw_store: redis.Redis, clock: FakeClock, make_member: MakeMember, scene: Scene, grant: str
) -> Case:
    """A member of the app's tenant, with a reference to the app's connection that it may redeem once."""
    made = Case(heart, raw_store, clock, await make_member(grant))
    made.reference = await reference_for(scene.app, {"id": scene.targets["connection"]}, made.member)
    return made


@pytest.mark.parametrize("end", TOKEN_ENDS)
async def test_a_broker_token_that_is_over_opens_no_route(
    case: Case, scene: Scene, raw_store: redis.Redis, sandbox: httpx2.Client, end: str
) -> None:
    """By whatever grant it was issued; one that is in use is looked at again every moment."""  # S6, S13
    member = case.member
    assert (await member.call("GET", "/v1/connections")).status_code == 200
    await TOKEN_ENDS[end](case)
    await case.heart.authenticator.revalidate()
    before, asked = written(raw_store), sandbox.get("/counters").json()
    answers = {route: await member.call(*scene.path(route), ROWS[route].body) for route in ROWS}
    assert {route: (answer.status_code, code_of(answer)) for route, answer in answers.items()} == dict.fromkeys(
        ROWS, (401, "unauthenticated")
    )
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {'Bearer error="invalid_token"'}
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked


async def test_a_broker_token_has_no_more_than_its_client_has_left(
    case: Case, scene: Scene, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """A token in use that was issued with every scope, of a client that has one left: the others are gone."""  # S13
    member = case.member
    assert (await member.call("GET", "/v1/connections")).status_code == 200
    rewrite(raw_store, names.client(member.client_id), scopes=["events:read"])
    await case.heart.authenticator.revalidate()
    before, asked = written(raw_store), sandbox.get("/counters").json()
    lost = [route for route, row in ROWS.items() if row.scope not in {None, "events:read"}]
    answers = {route: await member.call(*scene.path(route), ROWS[route].body) for route in lost}
    assert {route: answer.status_code for route, answer in answers.items()} == dict.fromkeys(lost, 403)
    answer = await member.redeem(case.reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "unauthorized_client")
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked
    for route in ROWS.keys() - lost:
        assert (await member.call(*scene.path(route), ROWS[route].body)).status_code == 200


@pytest.mark.parametrize("end", REFERENCE_ENDS)
async def test_a_reference_that_is_over_opens_nothing(
    case: Case, raw_store: redis.Redis, sandbox: httpx2.Client, end: str
) -> None:
    """By whatever grant: refused, said to be inactive, and taking it back again is 200 without effect."""  # S7
    await REFERENCE_ENDS[end](case)
    before, asked = written(raw_store), sandbox.get("/counters").json()
    answer = await case.member.redeem(case.reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert (await case.member.introspect(case.reference)).content == INACTIVE
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked
    assert (await case.member.revoke(case.reference)).status_code == 200


async def test_a_client_that_is_gone_gets_nothing_at_the_oauth_face(case: Case, raw_store: redis.Redis) -> None:
    """By whatever grant, at once: who deletes it makes this process look at its proof anew."""  # S13
    await case.the_client_is_deleted()
    before = written(raw_store)
    for answer in (
        await case.member.post("/oauth/token", grant_type="client_credentials"),
        await case.member.redeem(case.reference),
        await case.member.introspect(case.member.token),
        await case.member.revoke(case.reference),
    ):
        assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")
    assert written(raw_store) == before


SESSIONS = {"pending": 400, "authorizing": 400, "awaiting_completion": 200, "completed": 200, "expired": 400}
"""What completing is answered, with the code if there is one."""


@pytest.mark.parametrize("state", SESSIONS)
async def test_what_a_session_is_worth(
    app: ServiceClient, person: Person, make_client: MakeClient, raw_store: redis.Redis, clock: FakeClock, state: str
) -> None:
    """To its opener what its state says; to a client beside it nothing in any state, even with the code."""  # S5
    opened, code = await app.open_session(), "x" * 43
    if state in {"awaiting_completion", "completed"}:
        code = (await person.connect(opened["connect_url"]))["completion_code"]
    if state == "completed":
        assert (await app.complete(opened["id"], code)).status_code == 200
    if state == "authorizing":
        await person.press(opened["connect_url"])
    if state == "expired":
        clock.advance(seconds=3600)
        app = ServiceClient(app.http, app.client_id, app.secret)
        await app.broker_token()
    beside = await make_client("beside")
    await beside.broker_token()
    before, path = snapshot(raw_store), f"/v1/connect-sessions/{opened['id']}"
    unknown = await beside.call("GET", f"/v1/connect-sessions/{UNKNOWN['session']}")
    for foreign in (await beside.call("GET", path), await beside.complete(opened["id"], code)):
        assert nameless(foreign) == nameless(unknown)
    shown = await app.call("GET", path)
    assert (shown.status_code, shown.json()["status"]) == (200, state)
    assert snapshot(raw_store) == before
    assert (await app.complete(opened["id"], "y" * 43)).status_code == 400
    assert (await app.complete(opened["id"], code)).status_code == SESSIONS[state]
