"""Guesses at credentials cost the same, whatever is wrong with them: counted in commands, not in time."""

from collections.abc import Sequence

import pytest
import redis

from broker.models.ids import new_id, new_secret
from tests.downstream.watching import watching
from tests.world import ServiceClient

PATHS = ["/oauth/token", "/oauth/introspect", "/oauth/revoke"]


async def asked_for(
    app: ServiceClient, store: redis.Redis, path: str, client_id: str, secret: str, *, status: int
) -> tuple[Sequence[str], Sequence[str]]:
    """What the store was asked, and did within scripts, while this pair was refused."""
    with watching(store) as watched:
        answer = await app.http.post(path, data={"grant_type": "client_credentials"}, auth=(client_id, secret))
    assert answer.status_code == status
    return watched.commands, watched.within


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_client_and_a_wrong_secret_cost_the_same(
    app: ServiceClient, raw_store: redis.Redis, path: str
) -> None:
    """The first time and the second, below the limit and above it."""  # S8
    guesses = [(app.client_id, new_secret("bcs")), (new_id("cl"), new_secret("bcs")), (new_id("cl"), app.secret)]
    await asked_for(app, raw_store, path, new_id("cl"), "x", status=401)
    first = [await asked_for(app, raw_store, path, *guess, status=401) for guess in guesses]
    assert first == [(["GET", "count", "count"], ["INCRBY", "PTTL", "INCRBY", "PEXPIRE", "PTTL"])] * len(guesses)
    again = [await asked_for(app, raw_store, path, *guess, status=401) for guess in guesses]
    assert again == [(["GET", "count", "count"], ["INCRBY", "PTTL"] * 2)] * len(guesses)
    [counter] = raw_store.keys("broker:count:failures/*")
    raw_store.set(counter, 120, keepttl=True)
    above = [await asked_for(app, raw_store, path, *guess, status=429) for guess in guesses]
    assert above == [(["GET", "count"], ["INCRBY", "PTTL"])] * len(guesses)


async def test_a_right_secret_is_not_counted(app: ServiceClient, raw_store: redis.Redis) -> None:
    """Who knows it costs one look, also above the limit."""  # S8
    for _ in range(130):
        await app.http.post("/oauth/introspect", auth=(app.client_id, "wrong"))
    with watching(raw_store) as watched:
        answer = await app.http.post("/oauth/introspect", data={"token": "x"}, auth=(app.client_id, app.secret))
    assert answer.status_code == 200
    assert watched.commands == ["GET", "GET"]  # the client, and the token that it asks about
