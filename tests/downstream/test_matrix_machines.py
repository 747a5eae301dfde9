"""Machines that are logged in, walked over every route: their tokens reach one connection, and nothing beside it.

A machine's token is the weakest that there is: whoever sits at the machine has it.
"""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.access import CLIENT_SCOPES, CONNECTION_SCOPES
from broker.vault import names
from tests.downstream.answers import code_of, nameless, oauth_error_of
from tests.downstream.rows import CLIENT, ROWS, UNKNOWN, Scene
from tests.journey import written
from tests.machine import Machine, MakeMachine, approve
from tests.world import Person

OF_ITS_CONNECTION = [route for route in ROWS if "{connection_id}" in route]
OF_ITS_PROVIDER = "GET /v1/providers/{name}"
ELSEWHERE = [route for route in ROWS if route not in OF_ITS_CONNECTION and route != OF_ITS_PROVIDER]
ENDS = "DELETE /v1/connections/{connection_id}"


async def logged_in(machine: Machine, heart: Heart, person: Person, **form: str) -> Machine:
    """The machine, with tokens."""
    await approve(heart, person, (await machine.begin(**form))["user_code"])
    await machine.collect()
    return machine


@pytest.fixture(params=["public", "confidential"])
async def machine(
    request: pytest.FixtureRequest, make_machine: MakeMachine, heart: Heart, person: Person, sandbox: httpx2.Client
) -> Machine:
    """A machine with all that a machine can have, of a client with every scope."""
    return await logged_in(await make_machine(public=request.param == "public"), heart, person)


async def call(machine: Machine, scene: Scene, route: str, target: str | None) -> httpx2.Response:
    """A call of the route about ``target``."""
    method, path = scene.path(route, target)
    body: Mapping[str, Any] | None = ROWS[route].body
    if route.endswith("/references"):
        body = {"audience": machine.client_id}
    return await machine.call(method, path, body)


async def test_it_holds_scopes_of_one_connection_alone(machine: Machine) -> None:
    """Of a client that has every scope there is."""
    assert machine.tokens["scope"] == " ".join(scope for scope in CLIENT_SCOPES if scope in CONNECTION_SCOPES)


@pytest.mark.parametrize("scope", CONNECTION_SCOPES)
async def test_a_scope_opens_its_own_routes_of_its_connection(
    make_machine: MakeMachine, heart: Heart, person: Person, scene: Scene, raw_store: redis.Redis, scope: str
) -> None:
    """And no other route; what lacks the scope does nothing."""  # S5
    machine = await logged_in(await make_machine(), heart, person, scope=scope)
    own = machine.tokens["connection_id"]
    opened = [route for route in OF_ITS_CONNECTION if ROWS[route].scope == scope]
    before = written(raw_store)
    for route in OF_ITS_CONNECTION:
        if route not in opened:
            answer = await call(machine, scene, route, own)
            assert (route, answer.status_code, code_of(answer)) == (route, 403, "insufficient_scope")
    assert written(raw_store) == before
    for route in sorted(opened, key=lambda route: route == ENDS):
        assert (await call(machine, scene, route, own)).status_code in {200, 201, 404}, route


@pytest.mark.parametrize("route", OF_ITS_CONNECTION)
async def test_another_connection_is_an_unknown_one(
    machine: Machine, scene: Scene, raw_store: redis.Redis, sandbox: httpx2.Client, route: str
) -> None:
    """Of the same tenant, provider and client, too: the answer is that about no connection at all."""  # S5
    other = scene.targets["connection"]
    before, asked = written(raw_store), sandbox.get("/counters").json()
    unknown = await call(machine, scene, route, UNKNOWN["connection"])
    answer = await call(machine, scene, route, other)
    assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert nameless(answer) == nameless(unknown)
    assert written(raw_store) == before
    assert sandbox.get("/counters").json() == asked


@pytest.mark.parametrize("route", ELSEWHERE)
async def test_what_is_about_no_connection_is_none_of_its_business(
    machine: Machine, scene: Scene, raw_store: redis.Redis, route: str
) -> None:
    """No list, no session, no other client: not even to look."""  # S5
    before = written(raw_store)
    answer = await call(machine, scene, route, None)
    assert (answer.status_code, code_of(answer)) in {(403, "forbidden"), (403, "insufficient_scope")}
    assert written(raw_store) == before


async def test_it_sees_its_own_provider_alone(machine: Machine, scene: Scene) -> None:
    """What its commands are to be given is said there."""
    assert (await call(machine, scene, OF_ITS_PROVIDER, "practice")).status_code == 200
    for name in ("practice-two", "nowhere"):
        assert (await call(machine, scene, OF_ITS_PROVIDER, name)).status_code == 404


@pytest.mark.parametrize("route", sorted(CLIENT))
async def test_its_token_is_no_clients_proof(machine: Machine, http: httpx2.AsyncClient, route: str) -> None:
    """At the OAuth face a client proves itself anew; a bearer is not a client."""  # S14
    headers = {"Authorization": f"Bearer {machine.tokens['access_token']}"}
    form = {"token": "x", "provider": "practice", "grant_type": "client_credentials"}
    answer = await http.post(route.partition(" ")[2], data=form, headers=headers)
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


async def test_a_client_that_loses_its_provider_takes_the_machine_along(
    machine: Machine, heart: Heart, raw_store: redis.Redis
) -> None:
    """What a client was given counts now, not at the login."""  # S13
    assert (await machine.fetch()).status_code == 200
    document = raw_store.get(names.client(machine.client_id))
    assert isinstance(document, bytes)
    raw_store.set(names.client(machine.client_id), document.replace(b'"providers": null', b'"providers": ["gmail"]'))
    await heart.authenticator.revalidate()
    assert code_of(await machine.fetch()) == "not_found"
