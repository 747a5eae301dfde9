"""Replicas that have not confirmed a credential: callers are served, the connection says so, the write is repeated."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.connection import Credential
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.redis.store import Argument, Commit, Confirmation
from broker.vault.scripts import Script
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes
from tests.vault.samples import outbox
from tests.waiting import eventually
from tests.world import Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


class Replicas:
    """Stand-in for replicas that confirm only when they are told to."""

    def __init__(self, heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
        self._commit = heart.store.commit
        self.confirm = False
        self.commits = 0
        monkeypatch.setattr(type(heart.store), "commit", self.commit)
        monkeypatch.setattr("broker.connections.durability._PAUSES", (0.02,))

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """As the store does it, with the confirmation that was decided on."""
        self.commits += 1
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        confirmed.set_result(self.confirm)
        return Commit((await self._commit(script, keys, arguments)).reply, Confirmation(confirmed))


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def connection_id(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> str:
    """A connection at a provider whose old refresh token is dead as soon as the new one is issued."""
    behave(sandbox, rotation="strict")
    return str((await app.connect(Person(http)))["id"])


@pytest.fixture
def replicas(connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch) -> Replicas:
    """Replicas that don't confirm."""
    return Replicas(heart, monkeypatch)


async def health(app: ServiceClient, connection_id: str) -> dict[str, Any]:
    """The connection's health as the API shows it."""
    shown: dict[str, Any] = (await app.call("GET", f"/v1/connections/{connection_id}")).json()["health"]
    return shown


async def test_callers_are_served_while_replicas_are_waited_for(
    app: ServiceClient,
    connection_id: str,
    heart: Heart,
    replicas: Replicas,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
) -> None:
    """Degraded until enough have it, the write repeated, the provider asked once; then healthy. One event."""  # R5
    answer = await app.fetch(connection_id, stale_generation=1)
    assert (answer.status_code, answer.json()["generation"]) == (200, 2)
    await eventually(lambda: replicas.commits >= 4)
    shown = await health(app, connection_id)
    assert (shown["status"], shown["last_error"]["code"]) == ("degraded", "not_replicated")
    assert shown["next_refresh_at"] is not None
    assert (await app.fetch(connection_id)).status_code == 200
    assert await heart.durability.drain(0.05) == 1

    replicas.confirm = True
    assert await heart.durability.drain(60) == 0
    shown = await health(app, connection_id)
    assert (shown["status"], shown["last_error"]) == ("healthy", None)
    assert refreshes(sandbox) == (1, 0)
    refreshed = [event for event in outbox(raw_store, connection_id) if event.type == "credential.refreshed"]
    assert len(refreshed) == 1


async def test_what_a_failover_lost_is_put_back(
    app: ServiceClient,
    connection_id: str,
    heart: Heart,
    replicas: Replicas,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
) -> None:
    """The replica that took over never saw the rotation, and somebody even gave the connection up: it comes back."""
    # R5, R7, F1
    record = names.record(connection_id)
    before = raw_store.dump(record)
    assert before is not None
    assert (await app.fetch(connection_id, stale_generation=1)).status_code == 200
    raw_store.restore(record, 0, before, replace=True)
    raw_store.hset(record, "st", "reauth_required")
    await eventually(lambda: raw_store.hget(record, "g") == b"2")
    replicas.confirm = True
    assert await heart.durability.drain(60) == 0
    again = ServiceClient(app.http, app.client_id, app.secret)
    assert (await again.fetch(connection_id, stale_generation=2)).json()["generation"] == 3
    assert refreshes(sandbox) == (2, 0)


async def test_a_later_credential_ends_the_waiting(
    app: ServiceClient, connection_id: str, heart: Heart, replicas: Replicas, sandbox: httpx2.Client
) -> None:
    """What replaced it is followed itself; the old one is not written over it."""  # F6
    assert (await app.fetch(connection_id, stale_generation=1)).json()["generation"] == 2
    assert (await app.fetch(connection_id, stale_generation=2)).json()["generation"] == 3
    commits = replicas.commits
    await eventually(lambda: replicas.commits >= commits + 6)
    assert await heart.durability.drain(0.02) == 1
    replicas.confirm = True
    assert await heart.durability.drain(60) == 0
    found = await heart.records.read(connection_id)
    assert found is not None
    assert found.generation == 3
    assert refreshes(sandbox) == (2, 0)


async def test_a_new_connection_is_followed_too(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, replicas: Replicas, raw_store: redis.Redis
) -> None:
    """Its consent was given once: lost in a failover, it is written again."""  # R5
    made = await app.connect(Person(http), provider="practice-two")
    raw_store.delete(names.record(made["id"]))
    await eventually(lambda: raw_store.exists(names.record(made["id"])))
    replicas.confirm = True
    assert await heart.durability.drain(60) == 0
    assert (await app.fetch(made["id"])).status_code == 200


async def test_a_repeat_is_a_write(heart: Heart, connection_id: str, raw_store: redis.Redis) -> None:
    """Waiting for replicas after a repeat that writes nothing would wait for nothing."""  # R5
    found = await heart.records.read_with_credential(connection_id)
    assert found is not None
    keys = [key(connection_id) for key in (names.record, names.outbox, names.due)]
    record = raw_store.hgetall(names.record(connection_id))
    written = raw_store.info("persistence")["rdb_changes_since_last_save"]
    assert await heart.store.run(scripts.CREATE, keys, [connection_id, "", "{}", "t", "default"]) == 0
    assert raw_store.info("persistence")["rdb_changes_since_last_save"] == written + 1
    assert raw_store.hgetall(names.record(connection_id)) == record


async def test_what_another_one_committed_after_a_failover_parks_ours(
    app: ServiceClient,
    connection_id: str,
    heart: Heart,
    replicas: Replicas,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
) -> None:
    """The new primary lost our commit, and somebody else's stands there: ours is of the same grant, and is kept."""
    # F6, R5
    record = names.record(connection_id)
    before = await heart.records.read(connection_id)
    dumped = raw_store.dump(record)
    assert before is not None
    assert dumped is not None
    assert (await app.fetch(connection_id, stale_generation=1)).json()["generation"] == 2
    raw_store.restore(record, 0, dumped, replace=True)
    after = replace(before, generation=2)
    event = Event("credential.refreshed", before.tenant, heart.clock(), before.id)
    assert (await heart.records.replace(before, after, Credential("theirs", "of theirs"), event)).stored
    await eventually(lambda: raw_store.llen(names.parked(connection_id)) == 1)
    replicas.confirm = True
    assert await heart.durability.drain(60) == 0
    # And it works, where theirs does not.
    await heart.refresher.refresh(connection_id, 2)
    found = await heart.records.read(connection_id)
    assert found is not None
    assert (found.status.value, found.generation) == ("active", 3)


async def test_what_is_committed_at_the_very_end_is_waited_for(
    connection_id: str, heart: Heart, replicas: Replicas, sandbox: httpx2.Client
) -> None:
    """A refresh that ends while the process does is followed, too: it is confirmed before the store is let go."""  # F3
    hold_answers(sandbox)
    replicas.confirm = False
    refresh = asyncio.create_task(heart.refresher.refresh(connection_id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    ending = asyncio.create_task(heart.aclose(work_ends_within=60))
    await asyncio.sleep(0)
    let_answers_go(sandbox)
    await refresh
    await eventually(lambda: replicas.commits >= 3)
    assert not ending.done()
    replicas.confirm = True
    await ending
