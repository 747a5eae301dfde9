"""References: bound to one client, to a time and to a number of uses, and hashed where they rest."""

# S7

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.ids import bearing_secret, digest, new_id
from broker.vault import names
from tests.downstream.answers import nameless, oauth_error_of
from tests.downstream.oauth.calls import INACTIVE, introspect, reference_for
from tests.journey import MakeClient, everything_in, snapshot
from tests.world import FakeClock, ServiceClient


async def test_only_its_audience_can_redeem_a_reference(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """Not its issuer, not a neighbour, not another tenant; and their tries leave it usable."""
    worker, beside = await make_client("worker"), await make_client("beside")
    elsewhere = await make_client("elsewhere", tenant="elsewhere")
    reference = await reference_for(app, connection, worker)
    for other in (app, beside, elsewhere):
        answer = await other.redeem(reference)
        assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert (await worker.redeem(reference)).status_code == 200


async def test_why_a_reference_is_refused_is_not_said(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, clock: FakeClock
) -> None:
    """Unknown, foreign, spent, expired, of another tenant, at a provider not given: one answer, byte for byte."""  # S5
    elsewhere = await make_client("elsewhere", tenant="elsewhere")
    narrow = await make_client("narrow", providers=("practice-two",))
    spent, expired = await reference_for(app, connection, app), await reference_for(app, connection, app, expires_in=1)
    await app.redeem(spent)
    clock.advance(seconds=1)
    answers = [
        await app.redeem(bearing_secret("ref", new_id("con"))),
        await app.redeem(bearing_secret("ref", connection["id"])),
        await app.redeem(spent),
        await app.redeem(expired),
        await elsewhere.redeem(await reference_for(app, connection, app)),
        await narrow.redeem(await reference_for(app, connection, narrow)),
    ]
    assert oauth_error_of(answers[0]) == "invalid_request"
    assert all(nameless(answer) == nameless(answers[0]) for answer in answers)


@pytest.mark.parametrize(
    "forge",
    [
        lambda r: r[:-1] + ("a" if r[-1] != "a" else "b"),
        lambda r: r[:-1],
        lambda r: r + "a",
        lambda r: r.swapcase(),
        lambda r: r.replace("ref_", "bat_"),
        lambda r: f"ref_{'0' * 22}_{r.split('_')[2]}",
        lambda r: f" {r}",
        lambda r: f"{r}\n",
        lambda r: f"{r}\x00",
        lambda r: r.replace("_", "%5F"),
        digest,
        lambda r: f"ref_{r.split('_')[1]}_{digest(r)[:43]}",
    ],
)
async def test_a_tampered_reference_is_refused(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis, forge: Callable[[str], str]
) -> None:
    """Not a character of it can be changed, also not the connection that it names; nothing is spent or recorded."""
    reference = await reference_for(app, connection, app)
    before = snapshot(raw_store)
    answer = await app.redeem(forge(reference))
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert snapshot(raw_store) == before


async def test_a_reference_can_be_used_as_often_as_it_says(app: ServiceClient, connection: dict[str, Any]) -> None:
    """Then it is gone, and introspection counts down with it."""
    reference = await reference_for(app, connection, app, max_uses=3)
    for left in (3, 2, 1):
        assert (await introspect(app, reference)).json()["remaining_uses"] == left
        assert (await app.redeem(reference)).status_code == 200
    assert (await app.redeem(reference)).status_code == 400
    assert (await introspect(app, reference)).content == INACTIVE


@pytest.mark.parametrize("uses", [1, 5])
async def test_twenty_at_once_get_no_more_than_its_uses(
    app: ServiceClient, connection: dict[str, Any], uses: int
) -> None:
    """Of a one-use reference redeemed twenty times at the same moment exactly one works, and one event says so."""
    reference = await reference_for(app, connection, app, max_uses=uses)
    answers = await asyncio.gather(*(app.redeem(reference) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * uses + [400] * (20 - uses)
    events = await app.call("GET", f"/v1/connections/{connection['id']}/events?type=reference.redeemed")
    released = {answer.headers["x-request-id"] for answer in answers if answer.status_code == 200}
    assert {event["request_id"] for event in events.json()["items"]} == released


async def test_a_reference_is_over_to_the_second(
    app: ServiceClient, connection: dict[str, Any], clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Good until its end, refused from then on, and gone from the store by itself."""
    reference = await reference_for(app, connection, app, expires_in=60, max_uses=2)
    key = names.reference(connection["id"], digest(reference))
    assert raw_store.pexpiretime(key) == clock.now + 60_000
    clock.advance(seconds=59.999)
    assert (await app.redeem(reference)).status_code == 200
    clock.advance(seconds=0.001)
    assert (await app.redeem(reference)).status_code == 400


async def test_only_the_digest_of_a_reference_is_stored(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """Who reads the store holds no reference: neither whole nor its secret part."""  # K1
    reference = await reference_for(app, connection, app, max_uses=9)
    await app.redeem(reference)
    stored = everything_in(raw_store)
    assert digest(reference).encode() in stored
    assert reference.encode() not in stored
    assert reference.split("_")[2].encode() not in stored


async def test_a_reference_of_a_deleted_audience_is_worth_nothing(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, heart: Heart
) -> None:
    """Nobody can authenticate as it any more."""  # S13
    worker = await make_client("worker")
    reference = await reference_for(app, connection, worker)
    await heart.clients.delete(worker.client_id)
    assert (await worker.redeem(reference)).status_code == 401
    assert (await app.redeem(reference)).status_code == 400


async def test_a_disconnected_connection_gives_no_token_by_reference(
    app: ServiceClient, connection: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """The credential is gone with the answer to ``DELETE``, whatever references are about."""
    reference = await reference_for(app, connection, app, max_uses=5)
    assert (await app.redeem(reference)).status_code == 200
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    asked = sandbox.get("/counters").json()["token"]
    assert (await app.redeem(reference)).status_code == 400
    assert sandbox.get("/counters").json()["token"] == asked
