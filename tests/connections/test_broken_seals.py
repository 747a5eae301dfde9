"""A stored secret that doesn't open: a typed 503, an alert, and the record kept for when its key is back."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest
import redis

from broker.vault import names
from tests.connections.practice import behave, refreshes, revocations
from tests.world import Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


async def alerts(http: httpx2.AsyncClient) -> float:
    """``broker_seals_broken_total``."""
    lines = (await http.get("/metrics")).text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("broker_seals_broken_total ")))


def damage(raw_store: redis.Redis, connection_id: str, field: str, position: int) -> bytes:
    """Flip a bit of a sealed field; answers what it was."""
    envelope = raw_store.hget(names.record(connection_id), field)
    assert isinstance(envelope, bytes)
    damaged = bytearray(envelope)
    damaged[position] ^= 1
    raw_store.hset(names.record(connection_id), field, bytes(damaged))
    return envelope


@pytest.mark.parametrize("position", [0, 1, 2, 8, -1], ids=["version", "kid length", "kid", "nonce", "tag"])
async def test_a_damaged_token_is_a_typed_503_and_an_alert(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis, position: int
) -> None:
    """The answer says store_unavailable and Retry-After; mended, the record serves again, with its own token."""  # K3
    app = await make_client()
    connection = await app.connect(Person(http))
    good = (await app.fetch(connection["id"])).json()
    envelope = damage(raw_store, connection["id"], "a", position)
    stored, before = raw_store.hgetall(names.record(connection["id"])), await alerts(http)

    answer = await app.fetch(connection["id"])
    assert answer.status_code == 503
    assert answer.json()["code"] == "store_unavailable"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert good["access_token"] not in answer.text
    assert await alerts(http) == before + 1
    assert raw_store.hgetall(names.record(connection["id"])) == stored

    raw_store.hset(names.record(connection["id"]), "a", envelope)
    assert (await app.fetch(connection["id"])).json()["access_token"] == good["access_token"]
    assert refreshes(sandbox) == (0, 0)


async def test_damaged_secrets_refuse_refresh_and_disconnect_and_are_kept(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Neither is a damaged refresh token sent anywhere, nor is the connection ended without giving it back."""  # K3
    app = await make_client()
    connection = await app.connect(Person(http))
    envelope = damage(raw_store, connection["id"], "s", 20)
    before = await alerts(http)
    for method, path in (("POST", "/refresh"), ("DELETE", "")):
        answer = await app.call(method, f"/v1/connections/{connection['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert await alerts(http) == before + 2
    assert (await app.fetch(connection["id"])).status_code == 200  # the access token has a seal of its own
    assert (refreshes(sandbox), revocations(sandbox)) == ((0, 0), 0)

    raw_store.hset(names.record(connection["id"]), "s", envelope)
    behave(sandbox, rotation="strict")
    assert (await app.call("POST", f"/v1/connections/{connection['id']}/refresh")).status_code == 200
    ended = await app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert ended.json()["upstream"]["outcome"] == "revoked"


async def test_a_reference_to_a_damaged_token_says_so_in_oauths_words(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """The token exchange answers temporarily_unavailable with the broker's code, and raises the alert too."""  # K3
    app = await make_client()
    connection = await app.connect(Person(http))
    issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", {"audience": app.client_id})
    damage(raw_store, connection["id"], "a", -1)
    before = await alerts(http)
    answer = await app.redeem(issued.json()["reference"])
    assert answer.status_code == 503
    assert (answer.json()["error"], answer.json()["code"]) == ("temporarily_unavailable", "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert await alerts(http) == before + 1


@pytest.mark.parametrize("uses", [1, 2])
async def test_a_reference_is_not_spent_on_a_token_that_does_not_open(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, raw_store: redis.Redis, uses: int
) -> None:
    """The use is given back, the record says that nothing left, and mended it redeems exactly as often as before."""
    # K3, S7
    app = await make_client()
    connection = await app.connect(Person(http))
    body = {"audience": app.client_id, "max_uses": uses}
    issued = await app.call("POST", f"/v1/connections/{connection['id']}/references", body)
    reference = issued.json()["reference"]
    envelope = damage(raw_store, connection["id"], "a", -1)
    refused = await app.redeem(reference)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    raw_store.hset(names.record(connection["id"]), "a", envelope)
    assert [(await app.redeem(reference)).status_code for _ in range(uses + 1)] == [200] * uses + [400]
    events = (await app.call("GET", f"/v1/connections/{connection['id']}/events")).json()["items"]
    assert [event["type"] for event in events].count("token.release_failed") == 1
