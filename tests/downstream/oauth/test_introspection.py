"""Introspection (RFC 7662): told to whom a token belongs, and to nobody else."""

from typing import Any

import pytest

from broker.app.heart import Heart
from broker.models.ids import bearing_secret, new_secret
from tests.downstream.answers import oauth_error_of
from tests.downstream.oauth.calls import INACTIVE, introspect, reference_for
from tests.journey import MakeClient
from tests.world import PUBLIC_URL, FakeClock, ServiceClient


async def test_a_broker_token_is_told_to_its_client(make_client: MakeClient, clock: FakeClock) -> None:
    """RFC 7662 §2.2: who, what for, from when until when, issued by whom."""
    client = await make_client(scopes=("connect", "admin"))
    answer = await introspect(client, await client.broker_token())
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "active": True,
        "iss": PUBLIC_URL,
        "token_type": "Bearer",
        "client_id": client.client_id,
        "sub": client.client_id,
        "scope": "connect admin",
        "iat": clock.now // 1000,
        "exp": clock.now // 1000 + 900,
    }


async def test_a_reference_is_told_to_issuer_and_audience(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, clock: FakeClock
) -> None:
    """Both see the same; asking spends nothing."""
    worker = await make_client("worker")
    reference = await reference_for(app, connection, worker, max_uses=3)
    for client in (app, worker, app):
        assert (await introspect(client, reference)).json() == {
            "active": True,
            "iss": PUBLIC_URL,
            "token_type": "urn:broker:token-type:reference",
            "client_id": app.client_id,
            "aud": worker.client_id,
            "exp": clock.now // 1000 + 300,
            "connection_id": connection["id"],
            "remaining_uses": 3,
        }


async def test_unknown_foreign_and_over_are_told_apart_by_nothing(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, clock: FakeClock
) -> None:
    """Just ``{"active": false}``, byte for byte (RFC 7662 §2.2)."""  # S5
    beside, elsewhere = await make_client("beside"), await make_client("elsewhere", tenant="elsewhere")
    reference = await reference_for(app, connection, app)
    token = await app.broker_token()
    for stranger in (beside, elsewhere):
        for foreign in (token, reference, new_secret("bat"), bearing_secret("ref", connection["id"]), "x", "ref_", "é"):
            answer = await introspect(stranger, foreign)
            assert (answer.status_code, answer.content) == (200, INACTIVE)
    assert (await introspect(app, token[:-1])).content == INACTIVE
    assert (await introspect(app, reference[:-1])).content == INACTIVE
    clock.advance(seconds=901)
    assert (await introspect(app, token)).content == INACTIVE
    assert (await introspect(app, reference)).content == INACTIVE


async def test_a_provider_token_is_none_of_ours(app: ServiceClient, connection: dict[str, Any]) -> None:
    """What a provider issued is not introspected here."""
    provider_token = (await app.fetch(connection["id"])).json()["access_token"]
    assert (await introspect(app, provider_token)).content == INACTIVE


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
async def test_the_hint_is_only_a_hint(app: ServiceClient, hint: str) -> None:
    """RFC 7662 §2.1."""
    assert (await introspect(app, await app.broker_token(), token_type_hint=hint)).json()["active"] is True


async def test_a_token_of_a_deleted_client_is_told_to_nobody(
    app: ServiceClient, make_client: MakeClient, heart: Heart
) -> None:
    """Its own client can't ask any more, and no other may."""  # S13
    beside, token = await make_client("beside"), await app.broker_token()
    await heart.clients.delete(app.client_id)
    answer = await introspect(app, token)
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")
    assert (await introspect(beside, token)).content == INACTIVE


async def test_a_reference_to_a_connection_that_was_ended_opens_nothing(
    app: ServiceClient, connection: dict[str, Any]
) -> None:
    """What can no longer be redeemed is not called active."""
    reference = await reference_for(app, connection, app)
    assert (await introspect(app, reference)).json()["active"] is True
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert (await introspect(app, reference)).content == INACTIVE
