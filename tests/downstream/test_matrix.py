"""Every route of the JSON face, called by everybody who may not: the right answer, and nothing done.

Rows come from ``rows``; a route without a row fails. The other parts of the matrix: ``test_matrix_grants`` walks the
routes by each way of proving who one is, with each scope and in each tenant; ``test_matrix_states`` walks them with
connections, tokens and references in every state; ``test_matrix_open`` has the routes that ask nobody.
"""

import httpx2
import pytest
import redis
from starlette.routing import Route

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.models.access import CLIENT_SCOPES
from broker.models.ids import bearing_secret
from broker.vault import names
from tests.downstream.answers import code_of, nameless
from tests.downstream.members import GRANTS
from tests.downstream.oauth.calls import reference_for
from tests.downstream.rows import BROWSER, CLIENT, OPEN, ROWS, UNKNOWN, Scene
from tests.journey import MakeClient, snapshot
from tests.machine import DEVICE_CODE
from tests.world import TOKEN_EXCHANGE, ServiceClient

ROUTES = sorted(ROWS)
ABOUT_SOMETHING = [route for route in ROUTES if ROWS[route].target is not None]


def test_every_route_has_a_row(heart: Heart) -> None:
    """A new route of whatever kind is not there until somebody has said who may call it."""  # S5
    routes = {
        f"{method} {route.path}"
        for route in app_of(heart).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert len(routes) >= len(app_of(heart).routes)
    assert routes == {*ROWS, *CLIENT, *BROWSER, *OPEN}


async def test_every_grant_has_a_column(http: httpx2.AsyncClient) -> None:
    """A new grant, or a new way to authenticate, is not there until the matrix walks it.

    What a platform signs is no method of its own to a library: it comes where ``private_key_jwt`` comes.
    """
    metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
    machines = {DEVICE_CODE, "refresh_token"}  # in test_matrix_machines
    assert {*metadata["grant_types_supported"]} == {"client_credentials", TOKEN_EXCHANGE, *machines}
    for endpoint, unproven in (("token", {"none"}), ("introspection", set()), ("revocation", {"none"})):
        listed = {*metadata[f"{endpoint}_endpoint_auth_methods_supported"]}
        assert listed == (GRANTS.keys() - {"workload"}) | unproven


NOTHING_PRESENTED = 'Bearer realm="broker"'
BAD_TOKEN = 'Bearer error="invalid_token"'
NO_TOKENS: list[tuple[dict[bytes, bytes], str]] = [
    ({}, NOTHING_PRESENTED),
    ({b"authorization": b""}, NOTHING_PRESENTED),
    ({b"authorization": b"Bearer"}, NOTHING_PRESENTED),
    ({b"authorization": b"Bearer bat_" + b"x" * 43}, BAD_TOKEN),
    ({b"authorization": b"Bearer " + "é".encode() * 40}, BAD_TOKEN),
    ({b"authorization": b"Basic YTpi"}, NOTHING_PRESENTED),
    ({b"cookie": b"Authorization=Bearer bat_" + b"x" * 43}, NOTHING_PRESENTED),
]


@pytest.mark.parametrize("route", ROUTES)
async def test_who_has_no_token_is_401(
    scene: Scene, http: httpx2.AsyncClient, raw_store: redis.Redis, route: str
) -> None:
    """None, garbage or another scheme: the answer is the same whatever the path names; only a token that was presented
    is called invalid (RFC 6750 §3.1)."""  # S5
    method, path = scene.path(route)
    kind = ROWS[route].target
    before = snapshot(raw_store)
    for headers, challenge in NO_TOKENS:
        answer = await http.request(method, path, json=ROWS[route].body, headers=headers)
        assert answer.status_code == 401
        assert code_of(answer) == "unauthenticated"
        assert answer.headers["www-authenticate"] == challenge
        nowhere = scene.path(route, UNKNOWN[kind] if kind else None)[1]
        unknown = await http.request(method, nowhere, json=ROWS[route].body, headers=headers)
        assert nameless(unknown) == nameless(answer)
    assert {key: value for key, value in snapshot(raw_store).items() if b":failures:" not in key} == before


@pytest.mark.parametrize("route", [route for route in ROUTES if ROWS[route].scope])
async def test_who_lacks_the_scope_is_403(
    scene: Scene, make_client: MakeClient, raw_store: redis.Redis, route: str
) -> None:
    """Every other scope together is not this one; the answer says which, and is the same whatever the path names."""
    scope = ROWS[route].scope
    other = await make_client("other", scopes=tuple(s for s in CLIENT_SCOPES if s != scope))
    await other.broker_token()
    before = snapshot(raw_store)
    method, path = scene.path(route)
    answer = await other.call(method, path, ROWS[route].body)
    assert answer.status_code == 403
    assert code_of(answer) == "insufficient_scope"
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'
    if kind := ROWS[route].target:
        unknown = await other.call(method, scene.path(route, UNKNOWN[kind])[1], ROWS[route].body)
        assert nameless(unknown) == nameless(answer)
    assert snapshot(raw_store) == before


@pytest.mark.parametrize("route", [route for route in ROUTES if ROWS[route].not_given != 404])
async def test_a_client_not_given_the_provider_gets_no_further_elsewhere(
    scene: Scene, make_client: MakeClient, sandbox: httpx2.Client, route: str
) -> None:
    """Lists leave out what it may not see; what names the provider is refused."""  # S5
    narrow = await make_client("narrow", providers=("practice-two",))
    asked = sandbox.get("/counters").json()
    answer = await narrow.call(*scene.path(route), ROWS[route].body)
    assert answer.status_code == ROWS[route].not_given
    assert sandbox.get("/counters").json() == asked
    if route in {"GET /v1/connections", "GET /v1/events", "GET /v1/providers"}:
        assert scene.targets["connection"] not in answer.text
        assert '"practice"' not in answer.text


@pytest.mark.parametrize("route", ["GET /v1/connections", "GET /v1/events", "GET /v1/clients"])
async def test_another_tenants_lists_are_empty_of_ours(scene: Scene, make_client: MakeClient, route: str) -> None:
    """A list holds the tenant's own, whatever is asked for."""  # S5
    stranger = await make_client("stranger", tenant="elsewhere")
    method, path = scene.path(route)
    for query in ("", "?limit=200"):
        answer = await stranger.call(method, path + query)
        assert answer.status_code == 200
        assert all(item["tenant"] == "elsewhere" for item in answer.json()["items"])
        assert not any(name in answer.text for name in (*scene.targets.values(), scene.app.client_id) if "_" in name)


@pytest.mark.parametrize(
    "header",
    ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Forwarded-For",
     "X-Auth-Request-User", "X-Client-Id", "X-Tenant", "X-Http-Method-Override", "X-Forwarded-Prefix", "X-Real-Ip"],
)  # fmt: skip
async def test_no_header_switches_authentication_off(scene: Scene, http: httpx2.AsyncClient, header: str) -> None:
    """What proxies of other systems say about callers means nothing here, on no route that asks who calls."""  # S14
    for route in (*ROUTES, *sorted(CLIENT)):
        method, path = scene.path(route) if route in ROWS else route.split(" ")
        answer = await http.request(method, path, headers={header: scene.app.client_id})
        assert (route, answer.status_code) == (route, 401)
    for value in ("127.0.0.1", scene.app.client_id, "/livez", "default", "GET"):
        answer = await http.get(f"/v1/connections/{scene.targets['connection']}", headers={header: value})
        assert answer.status_code == 401


@pytest.mark.parametrize("tenant", [None, ""])
async def test_a_record_without_a_tenant_is_nobodys(
    scene: Scene, raw_store: redis.Redis, sandbox: httpx2.Client, tenant: str | None
) -> None:
    """It is refused on every route and by every reference, and never taken for one of a default tenant."""  # S6
    key = names.record(scene.targets["connection"])
    reference = await reference_for(scene.app, {"id": scene.targets["connection"]}, scene.app)
    if tenant is None:
        raw_store.hdel(key, "t")
    else:
        raw_store.hset(key, "t", tenant)
    for route in ABOUT_SOMETHING:
        if ROWS[route].target == "connection":
            await _refused_as_unknown(scene, scene.app, raw_store, sandbox, route)
    before, asked = snapshot(raw_store), sandbox.get("/counters").json()
    unknown = await scene.app.redeem(bearing_secret("ref", UNKNOWN["connection"]))
    assert nameless(await scene.app.redeem(reference)) == nameless(unknown)
    assert snapshot(raw_store) == before
    assert sandbox.get("/counters").json() == asked


async def _refused_as_unknown(
    scene: Scene, caller: ServiceClient, raw_store: redis.Redis, sandbox: httpx2.Client, route: str
) -> None:
    method, path = scene.path(route)
    kind = ROWS[route].target
    assert kind is not None
    await caller.broker_token()
    before, asked = snapshot(raw_store), sandbox.get("/counters").json()
    foreign = await caller.call(method, path, ROWS[route].body)
    unknown = await caller.call(method, scene.path(route, UNKNOWN[kind])[1], ROWS[route].body)
    assert foreign.status_code == 404
    assert code_of(foreign) == "not_found"
    assert nameless(foreign) == nameless(unknown)
    assert snapshot(raw_store) == before
    assert sandbox.get("/counters").json() == asked
