"""A damaged record serves nobody, is a fault of its own on every face, and stays as it is."""

import json
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.event import Event
from broker.models.ids import digest
from broker.vault import names
from tests.connections.test_broken_seals import alerts
from tests.journey import MakeClient
from tests.world import FakeClock, Person, ServiceClient

NEST = b"[" * 200_000
READ_BY_ALL = ("p", "g", "x", "gr", "sc", "st", "a")
SHOWN = ("p", "st", "g", "gr", "x", "rx", "sc", "d", "l", "h", "u", "up", "c", "wa")
WAYS = {
    "no UTF-8": b"\xff\xfe",
    "no JSON": b'1"}x',
    "a nest": NEST,
    "far too long": b"9" * 5_000,
}
CRAFTED = [
    ("g", b"-1"),
    ("g", b"0"),
    ("g", b"1e0"),
    ("g", b"%d" % 2**70),
    ("x", b"inf"),
    ("x", b"nan"),
    ("p", b""),
    ("d", {"p": 5}),
    ("d", {"p": None}),
    ("d", {"p": [["a", "b"]]}),
    ("d", {"s": 5}),
    ("d", {"t": "yesterday"}),
    ("d", {"m": {"i": 1, "c": 2}}),
    ("h", b'{"f":"many"}'),
    ("h", b'{"e":{"code":1,"message":2,"at":3}}'),
    ("l", b'{"label":5}'),
    ("l", b'{"metadata":[]}'),
    ("l", b'{"metadata":' + b'{"a":' * 500 + b"1" + b"}" * 501),
    ("c", b'[{"t":1,"m":"magic","r":[]}]'),
    ("c", b'[{"t":1,"m":"api","r":[5]}]'),
]


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client()


@pytest.fixture
async def connection_id(app: ServiceClient, http: httpx2.AsyncClient) -> str:
    """A connection that works."""
    connection_id = str((await app.connect(Person(http)))["id"])
    assert (await app.fetch(connection_id)).status_code == 200
    return connection_id


def damage(store: redis.Redis, connection_id: str, field: str, value: bytes | str | dict[str, Any]) -> Any:
    """Put ``value`` into a field, or members of it into its document; answers the record as it is then."""
    key = names.record(connection_id)
    if isinstance(value, dict):
        value = json.dumps({**json.loads(store.hget(key, field) or b""), **value}).encode()
    store.hset(key, field, value)
    return store.hgetall(key)


async def faces(app: ServiceClient, sandbox: httpx2.Client, connection_id: str) -> dict[str, httpx2.Response]:
    """What every face says of the connection."""
    one = f"/v1/connections/{connection_id}"
    wanted = {"method": "GET", "url": f"{sandbox.base_url}/api/messages"}
    return {
        "token": await app.fetch(connection_id),
        "authorization": await app.call("POST", f"{one}/authorization", wanted),
        "proxy": await app.call("GET", f"/proxy/{connection_id}/messages"),
        "get": await app.call("GET", one),
    }


def refused(answer: httpx2.Response) -> bool:
    """Whether it is the typed fault, and counts as one to look at."""
    return (answer.status_code, answer.json()["code"]) == (503, "store_unavailable") and "damage" in answer.text


def events(store: redis.Redis, connection_id: str) -> list[Event]:
    """What waits in the outbox; all of it can be read."""
    entries: Any = store.xrange(names.outbox(connection_id))
    return [Event.decode(fields[b"e"]) for _, fields in entries]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", sorted({*READ_BY_ALL, "s", *SHOWN}))
async def test_whatever_stands_in_a_field_is_a_typed_fault(
    app: ServiceClient,
    connection_id: str,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    field: str,
    way: str,
) -> None:
    """Who reads the field answers 503 and alerts, who doesn't serves; no event is broken, the record stays."""  # K3
    record, before = damage(raw_store, connection_id, field, WAYS[way]), await alerts(http)
    answers = await faces(app, sandbox, connection_id)
    told = {face: answer.status_code for face, answer in answers.items()}
    assert set(told.values()) <= {200, 503}, (told, [answer.text for answer in answers.values()])
    # Requests to the API are judged by the whole record before anything is released for them.
    assert told["token"] == 200 or field in READ_BY_ALL
    assert told["get"] == 503 or field not in SHOWN or (field in {"gr", "sc"} and way != "no UTF-8") or field == "u"
    assert await alerts(http) == before + list(told.values()).count(503)
    events(raw_store, connection_id)
    assert raw_store.hgetall(names.record(connection_id)) == record or field == "u"


@pytest.mark.parametrize(("field", "value"), CRAFTED, ids=lambda value: str(value)[:30])
async def test_what_only_looks_like_a_record_is_a_typed_fault(
    app: ServiceClient,
    connection_id: str,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    field: str,
    value: bytes | dict[str, Any],
) -> None:
    """Of another type, out of range, nested too deep: the reader says so, and lists go on without it."""  # K3
    record = damage(raw_store, connection_id, field, value)
    answers = await faces(app, sandbox, connection_id)
    assert answers["get"].status_code == 503, answers["get"].text
    assert {answer.status_code for answer in answers.values()} <= {200, 503}
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    events(raw_store, connection_id)
    assert raw_store.hgetall(names.record(connection_id)) == record


@pytest.mark.parametrize("way", [*WAYS, "nan"])
@pytest.mark.parametrize("field", READ_BY_ALL)
async def test_a_reference_is_not_spent_on_a_damaged_record(
    app: ServiceClient, connection_id: str, raw_store: redis.Redis, heart: Heart, field: str, way: str
) -> None:
    """Mended, it redeems as often as before, and every event that was written can be settled."""  # K3, S7
    order = {"audience": app.client_id, "max_uses": 1}
    reference = (await app.call("POST", f"/v1/connections/{connection_id}/references", order)).json()["reference"]
    good = raw_store.hget(names.record(connection_id), field) or b""
    damage(raw_store, connection_id, field, WAYS.get(way, b"nan"))
    # Scopes have many letters.
    assert (await app.redeem(reference)).status_code in ({200, 503} if field == "sc" else {503})
    damage(raw_store, connection_id, field, good)
    left = raw_store.hget(names.reference(connection_id, digest(reference)), "left")
    assert left == b"1" or field == "sc"
    events(raw_store, connection_id)
    await heart.bookkeeping.settle_all()
    assert raw_store.xlen(names.outbox(connection_id)) == 0


async def test_no_event_is_written_that_is_no_json(
    app: ServiceClient, connection_id: str, raw_store: redis.Redis
) -> None:
    """A number with a zero in front is one elsewhere, and none in JSON (RFC 8259 §6)."""  # K3
    damage(raw_store, connection_id, "g", b"01")
    assert refused(await app.fetch(connection_id))
    events(raw_store, connection_id)


async def test_when_it_was_used_last_decides_nothing(
    app: ServiceClient, connection_id: str, raw_store: redis.Redis
) -> None:
    """A fetch writes it anew, and the event of it once."""  # K3
    damage(raw_store, connection_id, "u", b"lately")
    before = len(events(raw_store, connection_id))
    assert (await app.fetch(connection_id)).status_code == 200
    assert len(events(raw_store, connection_id)) == before + 1
    assert (await app.call("GET", f"/v1/connections/{connection_id}")).status_code == 200


async def test_a_use_is_not_spent_where_its_event_can_t_stand(
    app: ServiceClient, connection_id: str, raw_store: redis.Redis
) -> None:
    """The outbox is of another type: nothing leaves, and the reference redeems once it is gone."""  # S7
    order = {"audience": app.client_id, "max_uses": 1}
    reference = (await app.call("POST", f"/v1/connections/{connection_id}/references", order)).json()["reference"]
    raw_store.delete(names.outbox(connection_id))
    raw_store.set(names.outbox(connection_id), "no stream")
    assert (await app.redeem(reference)).status_code == 503
    raw_store.delete(names.outbox(connection_id))
    assert (await app.redeem(reference)).status_code == 200


@pytest.mark.parametrize("field", ["i", "f"])
async def test_a_refresh_whose_beginning_is_damaged_is_a_typed_fault(
    app: ServiceClient,
    connection_id: str,
    http: httpx2.AsyncClient,
    raw_store: redis.Redis,
    clock: FakeClock,
    field: str,
) -> None:
    """Whether the refresh token was sent can't be told: it is not sent, and the next caller needn't wait for that."""
    # K3, F6
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    record, before = damage(raw_store, connection_id, field, b'{"started":"lately"}'), await alerts(http)
    for _ in range(2):
        assert refused(await app.fetch(connection_id))
        assert not raw_store.exists(names.lease(connection_id))
    assert await alerts(http) == before + 2
    assert raw_store.hgetall(names.record(connection_id)) == record
