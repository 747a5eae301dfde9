"""An export: everything that is wanted, nothing that can be read without the key, and a record of all that left."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.connections.moving.exporting import Selection
from broker.connections.moving.fitting import misfits
from broker.connections.moving.row import Restored, Row
from broker.models.access import CLIENT_SCOPES
from broker.models.connection import Credential, Status
from broker.models.event import Event
from broker.vault import names
from tests.connections.moving.sealing import PAIRS, THEIRS, exported, read
from tests.journey import MakeClient
from tests.kinds.cases import ALICE, CASES, created, made_by
from tests.kinds.test_imported import tokens_of
from tests.vault.samples import a_connection, an_event, outbox
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client("app")


async def some_of_each(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, clock: FakeClock
) -> dict[str, str]:
    """A connection of each kind: what it is → its id."""
    sandbox.post("/control", json={"rotation": "strict"}).raise_for_status()
    soon, made = clock() // 1000 + 3600, {}
    made["browser"] = await app.connect(Person(http), label="Ann's", metadata={"seat": [4, {"row": None}]})
    made["rotating"] = await created(app, "practice-strict", {**tokens_of(sandbox), "expires_at": soon})
    over = {**tokens_of(sandbox), "expires_at": clock() // 1000 - 60}
    made["over"] = await created(app, "practice-strict", over, validate=False)
    made["client credentials"] = await created(app, "practice", {})
    made["app"] = await created(app, "practice-app", {"installation_id": "1001"})
    made["service account"] = await created(app, "practice-service-account", made_by(sandbox, "google_service_account"))
    made["realm"] = await created(
        app, "practice-realms", tokens_of(sandbox), parameters={"realm": "whoami"}, validate=False
    )
    for case in CASES:
        made[case.provider] = await created(app, case.provider, case.good)
    return {name: connection["id"] for name, connection in made.items()}


async def restore(heart: Heart, file: bytes) -> list[Restored]:
    """Put everything into another broker."""
    rows = list(read(file))
    assert all(isinstance(row, Row) for row in rows), rows
    found = [row.restored for row in rows if isinstance(row, Row) and row.restored is not None]
    for restored in found:
        assert not list(misfits(restored, heart.providers.get(restored.connection.provider)))
        await heart.records.create(
            restored.connection, restored.credential, an_event(restored.connection, "connection.created")
        )
    return found


async def service_at(heart: Heart) -> AsyncIterator[ServiceClient]:
    """A backend at a broker in this process."""
    client, secret = await heart.clients.create("app", scopes=CLIENT_SCOPES)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(heart)), base_url=PUBLIC_URL) as http:
        yield ServiceClient(http, client.client_id, secret)


async def test_restored_on_another_broker_it_serves_the_same(
    heart: Heart,
    other_heart: Heart,
    app: ServiceClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    clock: FakeClock,
) -> None:
    """Every kind keeps its id, its history and its credential; what is over is renewed there; nothing shows in the
    file."""  # K1
    made = await some_of_each(app, http, sandbox, clock)
    file, done = await exported(heart)
    assert done.skipped == []
    restored = {each.connection.id: each for each in await restore(other_heart, file)}
    assert restored.keys() == done.generations.keys() == set(made.values())
    async for there in service_at(other_heart):
        for name, connection_id in made.items():
            before = await heart.records.read_with_credential(connection_id)
            assert await other_heart.records.read_with_credential(connection_id) == before, name
            assert before is not None
            assert before[1] is not None
            for secret in before[1].secrets:
                # A name may be so short that it stands in what is sealed by chance; base64 at each of its three offsets
                # has this in common.
                assert secret.encode() not in file or len(secret) < 8
                assert base64.urlsafe_b64encode(secret.encode())[:-4] not in file or len(secret) < 8
            if name == "over":
                continue
            here, over_there = await app.fetch(connection_id), await there.fetch(connection_id)
            assert over_there.status_code == here.status_code, over_there.text
            assert over_there.json().get("access_token") == here.json().get("access_token"), name
        renewed = await there.fetch(made["over"])
        assert renewed.json()["generation"] == 2
        clock.advance(seconds=3600)
        there._token = ""
        assert (await there.fetch(made["rotating"])).json()["generation"] == 2
    assert sandbox.get("/counters").json()["token"]["refresh_token"] == {"ok": 2, "error": 0}


async def test_what_people_consented_to_comes_along(
    heart: Heart, other_heart: Heart, app: ServiceClient, http: httpx2.AsyncClient
) -> None:
    """Status, health, label, metadata, fallback, account and consents are as they were."""
    connection = await app.connect(Person(http), label="Ann's", metadata={"seat": 4})
    other = await app.connect(Person(http))
    await app.call("PATCH", f"/v1/connections/{connection['id']}", {"fallback": other["id"], "status": "disabled"})
    file, _ = await exported(heart, Selection(status=Status.DISABLED))
    (restored,) = await restore(other_heart, file)
    assert restored.connection == await heart.records.read(connection["id"])
    assert (restored.connection.status, restored.connection.fallback) == (Status.DISABLED, other["id"])
    assert restored.connection.consents[0].means == "browser"
    assert restored.connection.account is not None
    assert restored.connection.account.id == ALICE["id"]


async def test_nobody_without_the_private_key_can_read_it(heart: Heart, app: ServiceClient) -> None:
    """Another key is refused at the first line, and nothing is told of what the file holds."""
    await created(app, "practice-key", {"api_key": "pk_practice_alice_0001"}, subject="ann-whom-nobody-knows")
    file, _ = await exported(heart)
    (fault,) = read(file, THEIRS)
    assert "sealed to another key" in getattr(fault, "message", "")
    assert b"ann-whom" not in file


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_any_key_that_can_seal_will_do(heart: Heart, kind: str, form: str) -> None:
    """X25519, the NIST curves and RSA, in PEM or as JWKs."""
    pair = PAIRS[kind] if form == "pem" else PAIRS[kind].jwk
    connection = a_connection()
    await heart.records.create(connection, Credential("access-1", "refresh-1"), an_event(connection))
    file, _ = await exported(heart, pair=pair)
    (row,) = read(file, pair)
    assert isinstance(row, Row)
    assert row.restored == Restored(connection, Credential("access-1", "refresh-1"))


async def test_no_line_leaves_before_its_record(heart: Heart, raw_store: redis.Redis) -> None:
    """When a connection's line is written, the event that tells of it, and to whom it goes, is stored."""  # G2
    connection = a_connection()
    await heart.records.create(connection, Credential("access-1"), an_event(connection))
    seen: list[list[Event]] = []

    class Watched(list[bytes]):
        def append(self, line: bytes) -> None:
            super().append(line)
            seen.append([event for event in outbox(raw_store, connection.id) if event.type == "connection.exported"])

    file, _ = await exported(heart, lines=Watched())
    first, line, _ = file.splitlines()
    header = json.loads(base64.urlsafe_b64decode(first.partition(b".")[0] + b"=="))
    # Before the last line all of them moved on, though no broker runs.
    assert [len(events) for events in seen] == [0, 1, 0]
    (event,) = seen[1]
    assert (event.connection_id, event.tenant) == (connection.id, "acme")
    assert event.data["recipient"] == header["kid"]
    assert event.data["export"] in base64.urlsafe_b64decode(line.partition(b".")[0] + b"==").decode()
    assert "access-1" not in event.encode()
    assert outbox(raw_store, connection.id) == []
    journal = await heart.journal.of_connection("acme", connection.id, None, 10)
    assert next(event.type for _, event in journal) == "connection.exported"


async def test_only_what_is_wanted_leaves(heart: Heart) -> None:
    """By tenant, provider, subject and status; never what was disconnected, nor a record that is nobody's."""  # G1
    wanted = a_connection()
    others: dict[str, Any] = {
        "tenant": "other", "provider": "practice-two", "subject": "bob", "status": Status.REAUTH_REQUIRED
    }  # fmt: skip
    several = [wanted, *(a_connection(**{name: value}) for name, value in others.items())]
    for connection in [*several, a_connection(status=Status.REVOKED), a_connection(tenant="")]:
        await heart.records.create(connection, Credential("access-1"), an_event(connection))
    _, everything = await exported(heart)
    assert everything.generations.keys() == {connection.id for connection in several}
    for name in others:
        _, done = await exported(heart, Selection(**{name: getattr(wanted, name)}))
        assert len(done.generations) == len(several) - 1
    _, done = await exported(heart, Selection("acme", "practice", "ann", Status.ACTIVE))
    assert done.generations.keys() == {wanted.id}
    events = [event for _, event in await heart.journal.of_tenant("other", None, 50)]
    # Each time but when only the first tenant's were wanted.
    assert [event.type for event in events].count("connection.exported") == len(others)


async def test_a_broken_seal_is_named_and_keeps_nobody_else_back(heart: Heart, raw_store: redis.Redis) -> None:
    """What can't be opened is not in the file; everything else is, and the file is whole."""
    good, bad, damaged = a_connection(), a_connection(), a_connection()
    for connection in (good, bad, damaged):
        await heart.records.create(connection, Credential("access-1"), an_event(connection))
    raw_store.hset(names.record(bad.id), "p", "practice-two")
    raw_store.hset(names.record(damaged.id), "d", "{")
    file, done = await exported(heart)
    assert done.generations.keys() == {good.id}
    assert {each.id for each in done.skipped} == {bad.id, damaged.id}
    assert [row.restored.connection for row in read(file) if isinstance(row, Row) and row.restored] == [good]


async def test_refresh_tokens_that_came_too_late_come_along(heart: Heart) -> None:
    """Where the connection's own is refused, they are tried: the other broker must have them, too."""
    connection = a_connection()
    await heart.records.create(connection, Credential("access-1", "refresh-1"), an_event(connection))
    for token in ("late-1", "late-2"):
        await heart.parked.park(connection, token)
    file, _ = await exported(heart)
    (row,) = read(file)
    assert isinstance(row, Row)
    assert row.restored is not None
    assert row.restored.parked == ("late-2", "late-1")


async def test_a_connection_that_the_store_names_twice_is_exported_once(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that grows while it is looked through may do that, and no reader takes a connection twice."""
    connection = a_connection()
    await heart.records.create(connection, Credential("access-1"), an_event(connection))
    scan = type(heart.store).scan

    async def twice(store: Any, pattern: str) -> AsyncIterator[list[str]]:
        for _ in range(2):
            async for keys in scan(store, pattern):
                yield [*keys, *keys]

    monkeypatch.setattr(type(heart.store), "scan", twice)
    file, _ = await exported(heart)
    assert len(list(read(file))) == 1


async def test_one_that_is_too_large_for_any_reader_is_named(heart: Heart) -> None:
    """It is skipped, the lines of the others still fit together."""
    largest, large = a_connection(), a_connection()
    fields = dict.fromkeys(("one", "two", "three"), "y" * 60000)
    await heart.records.create(largest, Credential("access-1", fields=fields), an_event(largest))
    await heart.records.create(large, Credential("x" * 2_000_000), an_event(large))
    file, done = await exported(heart)
    assert [each.id for each in done.skipped] == [large.id]
    (row,) = read(file)
    assert isinstance(row, Row)
    assert row.restored == Restored(largest, Credential("access-1", fields=fields))
