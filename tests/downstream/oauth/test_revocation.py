"""Revocation (RFC 7009): by whom a token belongs to, at once, and never an oracle."""

from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.models.ids import bearing_secret, new_secret
from broker.providers import Registry
from broker.settings import Settings
from tests.downstream.oauth.calls import INACTIVE, introspect, reference_for, revoke
from tests.journey import MakeClient, snapshot
from tests.world import PUBLIC_URL, FakeClock, ServiceClient


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
async def test_a_revoked_token_stops_at_once_where_it_was_revoked(app: ServiceClient, hint: str | None) -> None:
    """Also one that was in use a moment ago; the hint is only a hint."""  # S13
    assert (await app.call("GET", "/v1/connections")).status_code == 200
    answer = await revoke(app, await app.broker_token(), **({"token_type_hint": hint} if hint else {}))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert (await app.call("GET", "/v1/connections")).status_code == 401


async def test_a_revoked_token_stops_within_seconds_on_other_replicas(
    app: ServiceClient, settings: Settings, providers: Registry, clock: FakeClock
) -> None:
    """The other one knew it already, and looks again."""  # S13
    other = build_heart(settings, providers, clock)
    transport = httpx2.ASGITransport(app_of(other))
    headers = {"Authorization": f"Bearer {await app.broker_token()}"}
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers) as replica:
        assert (await replica.get("/v1/connections")).status_code == 200
        await revoke(app, await app.broker_token())
        await other.authenticator.revalidate()
        assert (await replica.get("/v1/connections")).status_code == 401
    await other.aclose(work_ends_within=0)


async def test_a_foreign_token_is_answered_like_an_unknown_one_and_still_works(
    app: ServiceClient, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """RFC 7009 §2.2: 200 either way; who found a token can't end it, nor learn whether it lives."""
    beside, elsewhere = await make_client("beside"), await make_client("elsewhere", tenant="elsewhere")
    token = await app.broker_token()
    await app.call("GET", "/v1/connections")
    before = snapshot(raw_store)
    for stranger in (beside, elsewhere):
        for foreign in (token, new_secret("bat"), "x", "é" * 50):
            answer = await revoke(stranger, foreign)
            assert (answer.status_code, answer.content) == (200, b"")
    assert snapshot(raw_store) == before
    assert (await app.call("GET", "/v1/connections")).status_code == 200


async def test_a_reference_is_revoked_by_its_issuer_or_its_audience_only(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, sandbox: httpx2.Client
) -> None:
    """Anybody else is answered the same, and it lives on."""  # S7
    worker, beside = await make_client("worker"), await make_client("beside")
    elsewhere = await make_client("elsewhere", tenant="elsewhere")
    for owner in (app, worker):
        reference = await reference_for(app, connection, worker)
        for stranger in (beside, elsewhere):
            assert (await revoke(stranger, reference)).status_code == 200
        assert (await introspect(worker, reference)).json()["active"] is True
        assert (await revoke(owner, reference)).status_code == 200
        assert (await introspect(worker, reference)).content == INACTIVE
        assert (await worker.redeem(reference)).status_code == 400


async def test_what_was_done_is_on_record_and_what_was_not_is_not(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """One event for the reference that was revoked; none for the guess, nor for the stranger's try."""
    beside = await make_client("beside")
    reference = await reference_for(app, connection, app)
    await revoke(beside, reference)
    await revoke(app, bearing_secret("ref", connection["id"]))
    answer = await revoke(app, reference)
    await revoke(app, reference)
    listed = await app.call("GET", f"/v1/connections/{connection['id']}/events?type=reference.revoked")
    [event] = listed.json()["items"]
    assert event["client_id"] == app.client_id
    assert event["request_id"] == answer.headers["x-request-id"]
    assert event["data"] == {"provider": "practice"}


async def test_a_provider_token_is_not_revoked_here(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """Connections are ended with ``DELETE``; here the provider is not even asked."""
    token = (await app.fetch(connection["id"])).json()["access_token"]
    assert (await revoke(app, token)).status_code == 200
    assert sandbox.get("/counters").json()["revoke"] == 0
    assert (await app.fetch(connection["id"])).status_code == 200
