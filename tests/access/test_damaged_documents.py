"""A damaged document of a client, or of a broker token, is none: for its callers, and for nobody else."""

import json
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from broker.app.heart import Heart
from broker.models.ids import digest
from broker.vault import names
from tests.access.stored import rewrite
from tests.journey import MakeClient

DAMAGED: dict[str, str | bytes] = {
    "no JSON": "{broken",
    "no UTF-8": b"\xff\xfe",
    "a nest": "[" * 200_000,
    "a list": "[]",
    "a number": "9" * 5_000,
}
MEMBERS: list[dict[str, Any]] = [
    {"name": 5},
    {"scopes": 5},
    {"scopes": [5]},
    {"secret_ends": 5},
    {"tokens_from": "later"},
    {"workloads": [{"issuer": 5}]},
    {"providers": 5},
    {"allow": 7},
]


@pytest.mark.parametrize("way", DAMAGED)
async def test_a_damaged_client_is_none(
    make_client: MakeClient, heart: Heart, raw_store: redis.Redis, way: str
) -> None:
    """Whoever comes as it is refused as a stranger, and it is said once, without what stands there."""  # S13, K1
    app, other = await make_client("app"), await make_client("other")
    for each in (app, other):
        assert (await each.call("GET", "/v1/providers")).status_code == 200
    raw_store.set(names.client(app.client_id), DAMAGED[way])
    with capture_logs() as logs:
        for _ in range(2):
            await heart.authenticator.revalidate()
    assert [log for log in logs if log["log_level"] == "error"] == [
        {"event": "client.damaged", "client_id": app.client_id, "log_level": "error"}
    ]
    assert (await app.call("GET", "/v1/providers")).status_code == 401
    assert (await app.token(grant_type="client_credentials")).status_code == 401
    assert (await other.call("GET", "/v1/providers")).status_code == 200
    assert [client.client_id for client in await heart.clients.list()] == [other.client_id]


@pytest.mark.parametrize("member", MEMBERS, ids=json.dumps)
async def test_a_client_of_another_form_is_none(
    make_client: MakeClient, heart: Heart, raw_store: redis.Redis, member: dict[str, Any]
) -> None:
    """Values of another type than they should be; mended, it is itself again."""  # S13
    app = await make_client()
    good = raw_store.get(names.client(app.client_id))
    assert isinstance(good, bytes)
    rewrite(raw_store, names.client(app.client_id), **member)
    assert (await app.token(grant_type="client_credentials")).status_code == 401
    assert await heart.clients.read(app.client_id) is None
    raw_store.set(names.client(app.client_id), good)
    assert (await app.token(grant_type="client_credentials")).status_code == 200


async def test_a_damaged_client_keeps_no_look_from_the_others(
    make_client: MakeClient, heart: Heart, raw_store: redis.Redis
) -> None:
    """What another replica took back is noticed in the same round."""  # S13
    app, other = await make_client("app"), await make_client("other")
    for each in (app, other):
        assert (await each.call("GET", "/v1/providers")).status_code == 200
    raw_store.set(names.client(app.client_id), "{broken")
    raw_store.delete(names.client(other.client_id))
    await heart.authenticator.revalidate()
    assert (await other.call("GET", "/v1/providers")).status_code == 401
    assert (await other.token(grant_type="client_credentials")).status_code == 401


@pytest.mark.parametrize("way", DAMAGED)
async def test_a_damaged_broker_token_is_none(
    make_client: MakeClient, heart: Heart, raw_store: redis.Redis, way: str
) -> None:
    """As one that was revoked."""  # S13
    app = await make_client()
    assert (await app.call("GET", "/v1/providers")).status_code == 200
    raw_store.set(names.broker_token(digest(await app.broker_token())), DAMAGED[way])
    await heart.authenticator.revalidate()
    assert (await app.call("GET", "/v1/providers")).status_code == 401
