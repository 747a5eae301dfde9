"""What a rotation means to the programs of a client: over the wire, at every endpoint that asks who calls."""

import httpx2

from broker.app.heart import Heart
from tests.downstream.answers import code_of
from tests.downstream.oauth.calls import INACTIVE, introspect
from tests.world import FakeClock, ServiceClient

ENDPOINTS = ("/oauth/token", "/oauth/introspect", "/oauth/revoke")


async def _statuses(client: ServiceClient) -> list[int]:
    """What the endpoints answer to this client's secret."""
    form = {"grant_type": "client_credentials", "token": "x"}
    credentials = (client.client_id, client.secret)
    return [(await client.http.post(path, data=form, auth=credentials)).status_code for path in ENDPOINTS]


async def test_programs_move_one_after_the_other(
    app: ServiceClient, heart: Heart, http: httpx2.AsyncClient, clock: FakeClock
) -> None:
    """Both secrets work everywhere until the moment that was said; the old one then is like any wrong one."""  # S13
    rotated = await heart.clients.rotate(app.client_id, overlap=3600)
    moved = ServiceClient(http, app.client_id, rotated.secret)
    clock.advance(seconds=3599.999)
    assert await _statuses(app) == await _statuses(moved) == [200, 200, 200]
    clock.advance(seconds=0.001)
    assert await _statuses(app) == [401, 401, 401]
    assert await _statuses(moved) == [200, 200, 200]
    over = await app.token(grant_type="client_credentials")
    wrong = await ServiceClient(http, app.client_id, "bcs_wrong").token(grant_type="client_credentials")
    assert {**over.json(), "request_id": ""} == {**wrong.json(), "request_id": ""}
    assert over.json()["error"] == "invalid_client"


async def test_a_leaked_secret_and_what_was_got_with_it_are_worth_nothing(
    app: ServiceClient, heart: Heart, http: httpx2.AsyncClient
) -> None:
    """No overlap: the secret ends at once, a broker token in use within seconds, also in what is told of it."""  # S13
    stolen = await app.broker_token()
    assert (await app.call("GET", "/v1/connections")).status_code == 200
    rotated = await heart.clients.rotate(app.client_id, overlap=0)
    assert await _statuses(app) == [401, 401, 401]
    await heart.authenticator.revalidate()
    refused = await app.call("GET", "/v1/connections")
    assert (refused.status_code, code_of(refused)) == (401, "unauthenticated")
    moved = ServiceClient(http, app.client_id, rotated.secret)
    assert (await introspect(moved, stolen)).content == INACTIVE
    assert (await introspect(moved, await moved.broker_token())).json()["active"] is True
    assert (await moved.call("GET", "/v1/connections")).status_code == 200
