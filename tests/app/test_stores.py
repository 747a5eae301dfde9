"""The whole broker over HTTP on a Cluster and on a store led by a sentinel: all it does, and a loss."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from broker.app.heart import Heart
from broker.settings import Settings
from broker.vault import names
from tests.connections.practice import behave, refreshes
from tests.vault.server_process import TestServer
from tests.vault.servers import Group, sentinel_group, three_node_cluster
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture(scope="module", params=["cluster", "sentinel"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    """Each kind of store, with a replica for every primary."""
    with three_node_cluster(replicas=1) if request.param == "cluster" else sentinel_group(sentinels=1) as group:
        yield group


@pytest.fixture
def settings(group: Group, tmp_path: Path) -> Settings:
    """Settings of a broker on that store, whose commits a replica confirms."""
    group.flush()
    return Settings(
        public_url=PUBLIC_URL,
        redis_url=SecretStr(group.url),
        encryption_keys=(("k1", bytes(range(32))),),
        store_wait_replicas=1,
        data_dir=tmp_path / "data",
        background_enabled=False,
    )


async def test_a_connections_whole_life(
    heart: Heart, http: httpx2.AsyncClient, make_client: MakeClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Connected, listed, fetched, expired, refreshed, told in the events, disconnected: as on a single server."""
    behave(sandbox, rotation="strict", access_token_ttl=60)
    app, other = await make_client(), await make_client("other", tenant="elsewhere")
    people = [Person(http, f"{name}@practice.example") for name in ("alice", "bob")]
    connections = [await app.connect(person, subject=f"subject-{n}") for n, person in enumerate(people)]
    ids = [connection["id"] for connection in connections]
    assert (await http.get("/readyz")).json() == {"status": "ready"}

    first = [(await app.fetch(connection_id)).json()["access_token"] for connection_id in ids]
    clock.advance(seconds=61)
    answers = await asyncio.gather(*(app.fetch(connection_id) for connection_id in ids * 5))
    assert {answer.status_code for answer in answers} == {200}
    second = [answer.json()["access_token"] for answer in answers]
    assert len(set(second)) == 2
    assert not set(first) & set(second)
    assert refreshes(sandbox) == (2, 0)

    listed = (await app.call("GET", "/v1/connections")).json()["items"]
    assert {entry["id"] for entry in listed} == set(ids)
    assert (await other.call("GET", "/v1/connections")).json()["items"] == []
    assert (await app.call("DELETE", f"/v1/connections/{ids[0]}")).status_code == 200
    assert (await app.fetch(ids[0])).status_code in {404, 409}
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", "/v1/events?limit=100")).json()["items"]
    kinds = [event["type"] for event in events if event.get("connection_id") == ids[0]]
    assert {"connection.created", "credential.refreshed", "connection.revoked"} <= set(kinds)


async def test_the_primary_of_a_connection_is_lost(
    group: Group,
    heart: Heart,
    http: httpx2.AsyncClient,
    make_client: MakeClient,
    sandbox: httpx2.Client,
    clock: FakeClock,
) -> None:
    """kill -9: 503 with Retry-After until the replica took over; then the refreshed token is there."""  # R5, R7
    behave(sandbox, rotation="strict", access_token_ttl=60)
    app = await make_client()
    connection = await app.connect(Person(http))
    clock.advance(seconds=61)
    refreshed = (await app.fetch(connection["id"])).json()["access_token"]
    lost = primary_of(group, connection["id"])
    with lost.client() as client:
        # Callers are served before replicas have confirmed. What is lost otherwise is not this test's claim.
        client.set(f"{names.record(connection['id'])}:mark", 1)
        assert client.wait(1, 5000) == 1
    lost.kill()
    refused: list[httpx2.Response] = []
    while (answer := await fetch(app, connection["id"])).status_code != 200:
        assert answer.status_code == 503, answer.text
        refused.append(answer)
        await asyncio.sleep(0.05)
    assert all(1 <= int(answer.headers["Retry-After"]) <= 5 for answer in refused)
    assert answer.json()["access_token"] == refreshed
    clock.advance(seconds=61)
    again = await fetch(app, connection["id"])
    assert (again.status_code, refreshes(sandbox)) == (200, (2, 0))


async def fetch(app: ServiceClient, connection_id: str) -> Any:
    """A token, asked for with a broker token that is not kept."""
    anew = ServiceClient(app.http, app.client_id, app.secret)
    issued = await anew.token(grant_type="client_credentials")
    if issued.status_code == 200:
        anew._token = issued.json()["access_token"]
        return await anew.fetch(connection_id)
    return issued


def primary_of(group: Group, connection_id: str) -> TestServer:
    """The server that holds a connection."""
    return group.primary if group.sentinels else group.node_of(names.record(connection_id))
