"""What services see when a provider is down, slow of word or says odd things."""

from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from broker.app.heart import Heart
from broker.models.connection import Credential
from broker.models.event import Event
from broker.providers import Registry, load_providers
from tests.downstream.answers import code_of, oauth_error_of
from tests.downstream.oauth.calls import introspect, reference_for
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer
from tests.world import FakeClock, ServiceClient

_ENTRY = """
providers:
  practice:
    display_name: Practice
    type: oauth2
    authorization_endpoint: ${PRACTICE}/authorize
    token_endpoint: ${PRACTICE}/token
    client_id: practice-client
    client_secret: practice-secret
    grant_types: [authorization_code, client_credentials]
    default_scopes: [read]
"""
HANG_UP = raw_answer(200, b"", {"content-length": "100"})
"""An answer that stops short: nobody knows what the provider did."""


@pytest.fixture
async def server() -> AsyncIterator[PracticeServer]:
    """A provider that answers what a test tells it; first a token of a minute."""
    async with practice_server() as server:
        server.answers["/token"] = json_answer({"access_token": "at-1", "token_type": "Bearer", "expires_in": 60})
        yield server


@pytest.fixture
def providers(server: PracticeServer, tmp_path: Path) -> Registry:
    """One entry, for that provider."""
    path = tmp_path / "providers.yaml"
    path.write_text(_ENTRY)
    return load_providers(path, {"PRACTICE": server.origin})


@pytest.mark.parametrize("down", [raw_answer(503), raw_answer(429), HANG_UP, raw_answer(500, b"<html>oops")])
async def test_a_reference_is_spent_only_when_a_token_leaves(
    app: ServiceClient, connection: dict[str, Any], server: PracticeServer, clock: FakeClock, down: bytes
) -> None:
    """The token is over and the provider is down: 503, and the same reference works once it is back."""  # S7
    reference = await reference_for(app, connection, app)
    server.answers["/token"] = down
    clock.advance(seconds=61)
    for _ in range(2):
        answer = await app.redeem(reference)
        assert (answer.status_code, oauth_error_of(answer)) == (503, "temporarily_unavailable")
        assert answer.json()["code"] == "provider_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
    assert (await introspect(app, reference)).json()["remaining_uses"] == 1
    server.answers["/token"] = json_answer({"access_token": "at-2", "token_type": "Bearer", "expires_in": 60})
    assert (await app.redeem(reference)).json()["access_token"] == "at-2"
    assert (await app.redeem(reference)).status_code == 400


async def test_a_provider_that_is_down_is_503_with_a_time_to_wait_and_no_event(
    app: ServiceClient, connection: dict[str, Any], server: PracticeServer, clock: FakeClock
) -> None:
    """No token, no record of one; the connection stays as it is."""
    server.answers["/token"] = raw_answer(503)
    clock.advance(seconds=61)
    answer = await app.fetch(connection["id"])
    assert (answer.status_code, code_of(answer)) == (503, "provider_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    released = await app.call("GET", "/v1/events?type=token.released")
    assert released.json()["items"] == []
    shown = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert (shown["status"], shown["generation"], shown["health"]["status"]) == ("active", 1, "degraded")


async def test_a_token_that_still_lives_is_served_while_the_provider_is_down(
    app: ServiceClient, connection: dict[str, Any], server: PracticeServer, clock: FakeClock
) -> None:
    """Shorter than asked for is better than none; unless the provider refused that very one."""  # P1
    server.answers["/token"] = raw_answer(503)
    clock.advance(seconds=30)
    answer = await app.fetch(connection["id"], min_ttl=45)
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 30)
    assert (await app.fetch(connection["id"], stale_generation=1)).status_code == 503


async def test_a_token_without_an_end_has_no_expires_in(app: ServiceClient, server: PracticeServer) -> None:
    """Left out, not null and not zero; it is never refreshed for its age."""
    server.answers["/token"] = json_answer({"access_token": "at-1", "token_type": "Bearer", "scope": "read"})
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    made = (await app.call("POST", "/v1/connections", order)).json()
    assert made["access_token_expires_at"] is None
    asked = len(server.asked)
    fetched = await app.fetch(made["id"], min_ttl=86_400)
    assert fetched.json().keys() == {"access_token", "token_type", "scope", "connection_id", "generation"}
    redeemed = await app.redeem(await reference_for(app, made, app), min_ttl="86400")
    assert "expires_in" not in redeemed.json()
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    "refusal",
    [
        json_answer({"error": "invalid_client", "error_description": "planted-reason"}, 401),
        json_answer({"error": "invalid_scope"}, 400),
        json_answer({"ok": False, "error": "odd <b>error</b>"}),
    ],
)
async def test_a_provider_that_refuses_is_502_and_the_connection_stays(
    app: ServiceClient, connection: dict[str, Any], server: PracticeServer, clock: FakeClock, refusal: bytes
) -> None:
    """The app's own registration is at fault, not the person's grant."""  # P8
    server.answers["/token"] = refusal
    clock.advance(seconds=61)
    answer = await app.fetch(connection["id"])
    assert (answer.status_code, code_of(answer)) == (502, "provider_error")
    redeemed = await app.redeem(await reference_for(app, connection, app))
    assert (redeemed.status_code, oauth_error_of(redeemed)) == (502, "server_error")
    shown = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()
    assert shown["status"] == "active"
    assert "practice-secret" not in answer.text + redeemed.text


HELD = Credential("the-access-token-held", "the-refresh-token-held", "older-one-kept-beside-it")


@pytest.mark.parametrize("secret", HELD.secrets)
@pytest.mark.parametrize("credential_type", ["oauth2", "client_credentials"])
async def test_a_refusal_that_quotes_what_the_connection_holds_is_not_repeated(
    app: ServiceClient,
    connection: dict[str, Any],
    heart: Heart,
    server: PracticeServer,
    logged: StringIO,
    credential_type: str,
    secret: str,
) -> None:
    """Not in the answer, not in the connection's health, not in the log, whether it was sent or not."""  # K1
    before = await heart.records.read(connection["id"])
    assert before is not None
    after = replace(before, generation=2, credential_type=credential_type)
    event = Event("x.imported", before.tenant, heart.clock(), before.id)
    assert (await heart.records.replace(before, after, HELD, event)).stored
    server.answers["/token"] = json_answer({"error": "slow_down", "error_description": f"too soon for {secret}"}, 400)
    answer = await app.fetch(connection["id"], stale_generation=2)
    assert (answer.status_code, answer.json()["detail"]) == (502, "the provider refused: slow_down")
    shown = await app.call("GET", f"/v1/connections/{connection['id']}")
    assert shown.json()["health"]["last_error"]["message"] == "the provider refused: slow_down"
    assert secret not in answer.text + shown.text + logged.getvalue()
