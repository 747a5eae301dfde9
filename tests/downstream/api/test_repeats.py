"""``Idempotency-Key``: whoever lost an answer asks again, and what was asked for is there once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.repeats import TAKEN_OVER_AFTER, StoredRepeats
from tests.connections.practice import hold_answers, let_answers_go
from tests.downstream.answers import code_of
from tests.journey import MakeClient, everything_in, snapshot
from tests.waiting import eventually
from tests.world import PUBLIC_URL, FakeClock, ServiceClient

CONNECTION = {"provider": "practice", "subject": "ann", "credentials": {}}
KEY = {"Idempotency-Key": "order-1"}
REPLAYED = "idempotent-replayed"


async def _orders(app: ServiceClient, connection: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """What can be made, and how."""
    return {
        "session": ("/v1/connect-sessions", {"provider": "practice", "subject": "ann"}),
        "connection": ("/v1/connections", CONNECTION),
        "reference": (f"/v1/connections/{connection['id']}/references", {"audience": app.client_id}),
        "client": ("/v1/clients", {"name": "worker", "scope": "connect"}),
    }


KINDS = ["session", "connection", "reference", "client"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeat_is_answered_as_the_first_time(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis, sandbox: httpx2.Client, kind: str
) -> None:
    """Status and body, byte for byte; nothing is made, and the provider is not asked."""  # R3
    path, body = (await _orders(app, connection))[kind]
    first = await app.call("POST", path, body, headers=KEY)
    assert (first.status_code, REPLAYED in first.headers) == (201, False)
    before, asked = snapshot(raw_store), sandbox.get("/counters").json()
    again = await app.call("POST", path, body, headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert (again.headers[REPLAYED], again.headers["cache-control"]) == ("true", "no-store")
    assert (snapshot(raw_store), sandbox.get("/counters").json()) == (before, asked)


@pytest.mark.parametrize("kind", KINDS)
async def test_another_key_or_none_makes_another(app: ServiceClient, connection: dict[str, Any], kind: str) -> None:
    """Asking twice without saying so means wanting two."""
    path, body = (await _orders(app, connection))[kind]
    made = [await app.call("POST", path, body, headers=h) for h in (KEY, {"Idempotency-Key": "order-2"}, {}, {})]
    assert len({answer.content for answer in made}) == 4


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_key_for_something_else_is_a_conflict(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis, kind: str
) -> None:
    """Neither answered as the first one nor carried out; the order of members is nothing else."""
    path, body = (await _orders(app, connection))[kind]
    await app.call("POST", path, body, headers=KEY)
    before = snapshot(raw_store)
    answer = await app.call("POST", path, {**body, "surplus": 1}, headers=KEY)
    assert (answer.status_code, code_of(answer)) == (409, "conflict")
    assert snapshot(raw_store) == before
    turned = await app.call("POST", path, dict(reversed(body.items())), headers=KEY)
    assert turned.status_code == 201


async def test_a_key_is_of_one_client_and_one_route(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """What somebody else, or another route, was answered is not told."""  # S5
    orders = await _orders(app, connection)
    made = [await app.call("POST", *order, headers=KEY) for order in orders.values()]
    other = await make_client("other")
    made.append(await other.call("POST", *orders["session"], headers=KEY))
    stranger = await make_client("stranger", tenant="elsewhere")
    made.append(await stranger.call("POST", *orders["session"], headers=KEY))
    assert [answer.status_code for answer in made] == [201] * 6
    assert not any(REPLAYED in answer.headers for answer in made)


async def test_who_may_not_ask_gets_no_answer_again(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, http: httpx2.AsyncClient
) -> None:
    """Authentication, scope and existence are judged before the key is looked at."""  # S5
    orders = await _orders(app, connection)
    for path, body in orders.values():
        await app.call("POST", path, body, headers=KEY)
        assert (await http.post(path, json=body, headers=KEY)).status_code == 401
        narrowed = await app.token(grant_type="client_credentials", scope="proxy")
        bearer = {"Authorization": f"Bearer {narrowed.json()['access_token']}"}
        assert (await http.post(path, json=body, headers={**KEY, **bearer})).status_code == 403


async def test_a_reference_to_what_is_gone_is_not_answered_again(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """404, as for every connection that is not there."""  # S5
    path, body = (await _orders(app, connection))["reference"]
    await app.call("POST", path, body, headers=KEY)
    [record] = [key for key in raw_store.scan_iter(f"*{connection['id']}") if raw_store.type(key) == b"hash"]
    raw_store.delete(record)
    assert (await app.call("POST", path, body, headers=KEY)).status_code == 404


async def test_a_reference_to_what_was_disconnected_is_not_answered_again(
    app: ServiceClient, connection: dict[str, Any]
) -> None:
    """The answer is the one to somebody who asks for the first time: it can't come to life again."""
    path, body = (await _orders(app, connection))["reference"]
    made = await app.call("POST", path, body, headers=KEY)
    assert (await app.call("DELETE", f"/v1/connections/{connection['id']}")).status_code == 200
    again = await app.call("POST", path, body, headers=KEY)
    first = await app.call("POST", path, body)
    assert (again.status_code, code_of(again)) == (first.status_code, code_of(first)) == (409, "reauth_required")
    assert made.json()["reference"] not in again.text


@pytest.mark.parametrize(
    "value",
    ["", " ", '""', "x" * 256, "é".encode(), b"a\x7f", "\t"],
)
async def test_what_is_no_key_is_refused(app: ServiceClient, value: str | bytes) -> None:
    """400, naming the header; nothing is made."""
    token = (await app.broker_token()).encode()
    headers = [(b"Authorization", b"Bearer " + token)]
    headers.append((b"Idempotency-Key", value if isinstance(value, bytes) else value.encode()))
    answer = await app.http.post("/v1/connections", json=CONNECTION, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_two_keys_are_refused(app: ServiceClient) -> None:
    """Which of them is meant nobody can say."""  # S9
    headers = [("Authorization", f"Bearer {await app.broker_token()}"), *[("Idempotency-Key", n) for n in "ab"]]
    answer = await app.http.post("/v1/connections", json=CONNECTION, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


async def test_a_key_in_quotes_is_the_same_key(app: ServiceClient) -> None:
    """As the draft writes it, and as most clients do."""
    first = await app.call("POST", "/v1/connections", CONNECTION, headers=KEY)
    again = await app.call("POST", "/v1/connections", CONNECTION, headers={"Idempotency-Key": '"order-1"'})
    assert again.content == first.content


async def test_what_was_refused_can_be_mended_under_the_same_key(app: ServiceClient, raw_store: redis.Redis) -> None:
    """Nothing had happened, so nothing is remembered."""
    before = snapshot(raw_store)
    wrong = {**CONNECTION, "provider": "nowhere"}
    assert (await app.call("POST", "/v1/connections", wrong, headers=KEY)).status_code == 400
    assert {key for key in snapshot(raw_store) if b"rep_" in key} == {key for key in before if b"rep_" in key}
    assert (await app.call("POST", "/v1/connections", CONNECTION, headers=KEY)).status_code == 201


async def test_an_answer_is_kept_for_a_day_and_sealed(
    app: ServiceClient, connection: dict[str, Any], raw_store: redis.Redis
) -> None:
    """A link, a secret and a reference stand in it: the store can read neither them nor the key."""  # K1
    for path, body in (await _orders(app, connection)).values():
        await app.call("POST", path, body, headers={"Idempotency-Key": "my-order-number"})
    kept = list(raw_store.scan_iter("*rep_*"))
    assert len(kept) == 4
    assert all(86_000 < raw_store.ttl(key) <= 86_400 for key in kept)
    stored = everything_in(raw_store)
    link = (await app.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann"},
                           headers={"Idempotency-Key": "my-order-number"})).json()["connect_url"]  # fmt: skip
    client = await app.call(
        "POST", "/v1/clients", {"name": "worker", "scope": "connect"}, headers={"Idempotency-Key": "my-order-number"}
    )
    for secret in (link.rpartition("/")[2], client.json()["client_secret"], "my-order-number"):
        assert secret.encode() not in stored


async def test_other_calls_pass_the_header_over(app: ServiceClient, connection: dict[str, Any]) -> None:
    """It says something where something is made; and a fetch is a fetch."""
    for _ in range(2):
        answer = await app.call("POST", f"/v1/connections/{connection['id']}/token", {}, headers=KEY)
        assert (answer.status_code, REPLAYED in answer.headers) == (200, False)


@pytest.fixture
async def second(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[httpx2.AsyncClient]:
    """Another replica on the same store."""
    heart = build_heart(settings, providers, clock)
    transport = httpx2.ASGITransport(app_of(heart), client=("203.0.113.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client
    await heart.aclose(work_ends_within=5)


async def test_of_many_at_once_one_is_carried_out(
    app: ServiceClient, second: httpx2.AsyncClient, raw_store: redis.Redis
) -> None:
    """On two replicas, twenty times: one connection is made; the others hear that, or that it is being made."""  # R3
    twin = ServiceClient(second, app.client_id, app.secret)
    await asyncio.gather(app.broker_token(), twin.broker_token())
    orders = [who.call("POST", "/v1/connections", CONNECTION, headers=KEY) for who in (app, twin) for _ in range(10)]
    answers = await asyncio.gather(*orders)
    made = [answer for answer in answers if answer.status_code == 201]
    others = [answer for answer in answers if answer.status_code != 201]
    assert len({answer.content for answer in made}) == 1
    assert {(answer.status_code, code_of(answer), answer.headers["retry-after"]) for answer in others} <= {
        (409, "conflict", "1")
    }
    listed = await app.call("GET", "/v1/connections")
    assert [item["id"] for item in listed.json()["items"]] == [made[0].json()["id"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_dead_worker_made_is_not_made_twice(
    app: ServiceClient,
    connection: dict[str, Any],
    sandbox: httpx2.Client,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Killed before it could keep its answer: whoever asks again waits, takes over, and gets the same thing."""
    # F1, R3

    async def killed(*_: object) -> None:
        pass

    path, body = (await _orders(app, connection))[kind]
    with monkeypatch.context() as patch:
        patch.setattr(StoredRepeats, "answered", killed)
        first = (await app.call("POST", path, body, headers=KEY)).json()
    busy = await app.call("POST", path, body, headers=KEY)
    assert (busy.status_code, code_of(busy), busy.headers["retry-after"]) == (409, "conflict", "1")
    clock.advance(seconds=TAKEN_OVER_AFTER / 1000)
    other = await app.call("POST", path, {**body, "label": "other"}, headers=KEY)
    assert other.status_code == 409
    asked = sandbox.get("/counters").json()
    again = await app.call("POST", path, body, headers=KEY)
    assert again.status_code == 201
    assert sandbox.get("/counters").json() == asked
    if kind != "reference":
        name = "client_id" if kind == "client" else "id"
        assert again.json()[name] == first[name]
    for listed in ("/v1/connections", "/v1/clients"):
        found = (await app.call("GET", listed)).json()["items"]
        assert len(found) == 1 + (listed.endswith(f"{kind}s"))
    assert (await app.call("POST", path, body, headers=KEY)).json() == again.json()


async def test_a_caller_that_goes_away_stops_nothing(
    app: ServiceClient, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """What was begun is carried through, and its answer waits for the one who asks again."""  # R4
    await app.broker_token()
    hold_answers(sandbox)
    asking = asyncio.create_task(app.call("POST", "/v1/connections", CONNECTION, headers=KEY))
    await eventually(lambda: list(raw_store.scan_iter("*rep_*")))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    let_answers_go(sandbox)
    [kept] = raw_store.scan_iter("*rep_*")
    await eventually(lambda: raw_store.hexists(kept, "a"))
    answer = await app.call("POST", "/v1/connections", CONNECTION, headers=KEY)
    assert (answer.status_code, answer.headers[REPLAYED]) == (201, "true")
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1
