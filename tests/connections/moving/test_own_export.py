"""What a broker exports it takes in again: nothing leaves that could not come back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.connections.moving.row import Row
from broker.models.access import CLIENT_SCOPES
from broker.models.account import Account
from broker.models.connection import Credential
from broker.providers import load_providers
from broker.settings import Settings
from broker.vault import names
from tests.connections.moving.sealing import exported, read
from tests.connections.moving.taking_in import take
from tests.journey import MakeClient
from tests.kinds.cases import created
from tests.vault.samples import a_connection, an_event
from tests.world import PUBLIC_URL, FakeClock, ServiceClient

BARE = """
providers:
  bare-key: {display_name: K, type: api_key}
  bare-basic: {display_name: B, type: basic}
  bare-custom: {display_name: C, type: custom, fields: {k: {label: K}}, headers: {X-K: "{k}"}}
  hosted-key:
    {display_name: H, type: api_key, parameters: {site: {label: S}}, api: {base_url: "https://{site}.example.com"}}
"""
HANDED_IN: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "bare-key": ({"api_key": "k1"}, {}),
    "bare-basic": ({"username": "a", "password": "b"}, {}),
    "bare-custom": ({"k": "v"}, {"subject": "a\u00a0b", "label": "x\u200by"}),
    "hosted-key": ({"api_key": "k"}, {"parameters": {"site": "x"}}),
}


@pytest.mark.parametrize("provider", HANDED_IN)
async def test_entries_with_no_address_of_their_own_move_as_well(
    settings: Settings, tmp_path: Path, clock: FakeClock, raw_store: redis.Redis, provider: str
) -> None:
    """Such credentials have neither an issuer nor an app; they come back as they were."""  # K1
    file = tmp_path / "bare.yaml"
    file.write_text(BARE)
    credentials, more = HANDED_IN[provider]
    heart = build_heart(settings, load_providers(file, {}), clock)
    try:
        client, secret = await heart.clients.create("app", scopes=CLIENT_SCOPES)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(heart)), base_url=PUBLIC_URL) as http:
            app = ServiceClient(http, client.client_id, secret)
            connection = await created(app, provider, credentials, validate=False, **more)
        before = await heart.records.read_with_credential(connection["id"])
        sealed, done = await exported(heart)
        raw_store.flushall()
        report = await take(heart, list(read(sealed)), verify=False)
        assert (done.skipped, report.state, report.faults) == ([], "done", ())
        assert await heart.records.read_with_credential(connection["id"]) == before
    finally:
        await heart.aclose(work_ends_within=1)


ODD: dict[str, dict[str, Any]] = {
    "account": {"account": Account("", None)},
    "scopes": {"scopes": ("s" * 300,)},
    "provider_data": {"provider_data": {"x": "y" * 300_000}},
    "created_at": {"created_at": 2**53},
}


@pytest.mark.parametrize("odd", ODD)
async def test_what_could_not_come_back_is_named_and_does_not_leave(heart: Any, odd: str) -> None:
    """A file with one such line would be refused whole."""
    strange, good = a_connection(**ODD[odd]), a_connection()
    for connection in (strange, good):
        await heart.records.create(connection, Credential("access-1"), an_event(connection))
    file, done = await exported(heart)
    assert [each.id for each in done.skipped] == [strange.id]
    (row,) = read(file)
    assert isinstance(row, Row)
    assert row.source_id == good.id


@pytest.mark.parametrize("field", ["up", "x", "rx", "u"])
async def test_a_damaged_time_takes_no_list_down(
    heart: Any, make_client: MakeClient, raw_store: redis.Redis, field: str
) -> None:
    """One record whose time is beyond the calendar: the tenant's list shows it among the others."""
    app = await make_client("app")
    several = [replace(a_connection(), tenant="default", subject=subject) for subject in ("ann", "bob")]
    for connection in several:
        await heart.records.create(connection, Credential("access-1"), an_event(connection))
        await heart.records.index(connection)
    raw_store.hset(names.record(several[0].id), field, 2**60)
    answer = await app.call("GET", "/v1/connections")
    assert answer.status_code == 200, answer.text
    assert {each["id"] for each in answer.json()["items"]} == {connection.id for connection in several}
