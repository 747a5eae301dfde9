"""Filling leaves what the broker leaves: else what is measured on it would be of something else."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import redis

from bench.filling import fill
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.redis.data_dir import ensure_keys
from broker.vault.redis.embedded import EmbeddedStore
from tests.journey import MakeClient
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

SUBJECT = "person 000000000"


@pytest.fixture
def settings(tmp_path: Any) -> Iterator[Settings]:
    """A broker with an embedded store of its own."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    ensure_keys(data_dir)
    store = EmbeddedStore(data_dir)
    store.start()
    yield Settings(public_url=PUBLIC_URL, data_dir=data_dir, background_enabled=False)
    store.stop()


@pytest.fixture
async def heart(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A composed broker on it."""
    heart = build_heart(settings, providers, clock)
    yield heart
    await heart.aclose(work_ends_within=2)


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    """That store, as it is."""
    with redis.Redis.from_url(EmbeddedStore(settings.data_dir).url, decode_responses=False) as client:
        yield client


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client()


def left_by(store: redis.Redis, connection_id: str) -> dict[str, Any]:
    """What there is of a connection, in no other connection's words: keys, fields, lengths, members and times."""
    found: dict[str, Any] = {}
    for key in sorted(store.scan_iter()):
        name = key.decode().replace(connection_id, "CONNECTION")
        kind: Any = store.type(key)
        if kind == b"hash" and key.decode() == names.record(connection_id):
            fields: Any = store.hgetall(key)
            content: Any = [(field, len(value)) for field, value in fields.items()]
        elif kind == b"zset":
            content = _members(store.zrange(key, 0, -1), connection_id, whole="CONNECTION" in name)
        elif kind == b"set":
            content = _members(store.smembers(key), connection_id, whole="CONNECTION" in name)
        else:
            continue
        if content:
            anybodys = re.sub(r":[\w-]{22}$", ":DIGEST", re.sub(r"\{\d+\}", "{BUCKET}", name))
            found[anybodys] = (kind, store.pttl(key) > 0, content)
    return found


def _members(stored: Any, connection_id: str, *, whole: bool) -> list[str]:
    texts = [member.decode() for member in stored if whole or connection_id.encode() in member]
    return sorted(re.sub(r"\b(evt|req)_\w+|\d{13}", r"\1", text.replace(connection_id, "CONNECTION")) for text in texts)


async def test_a_filled_connection_is_what_one_made_by_the_api_is(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, store: redis.Redis, settings: Settings
) -> None:
    """Key by key and field by field; it is listed, its tokens open, and nobody else's are touched."""
    made = await app.connect(Person(http), subject=SUBJECT)
    assert (await app.fetch(made["id"])).status_code == 200
    await heart.bookkeeping.settle_all()
    clones = await asyncio.to_thread(fill, settings.data_dir, made["id"], 30, processes=2)
    assert len(set(clones)) == 30
    assert not list(store.scan_iter("*:outbox"))
    left = left_by(store, made["id"])
    assert {names.tenant_index("default"), names.journal("default"), "broker:{BUCKET}:CONNECTION"} < left.keys()
    assert len(left) == 7
    for clone in clones:
        assert left_by(store, clone) == left
    token = (await app.fetch(made["id"])).json()["access_token"]
    fetched = [(await app.fetch(clone)).json() for clone in clones]
    assert {len(one["access_token"]) for one in fetched} == {len(token)}
    assert len({one["access_token"] for one in fetched} | {token}) == 31
    listed = (await app.call("GET", "/v1/connections?limit=100")).json()["items"]
    assert {item["id"] for item in listed} == {made["id"], *clones}
    info: Any = store.info("persistence")
    assert info["aof_enabled"] == 1


async def test_tokens_can_be_as_long_as_wanted(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, settings: Settings
) -> None:
    """Each its own, as with short ones; the refresh token, too."""
    made = await app.connect(Person(http), subject=SUBJECT)
    assert (await app.fetch(made["id"])).status_code == 200
    await heart.bookkeeping.settle_all()
    clones = await asyncio.to_thread(fill, settings.data_dir, made["id"], 3, processes=1, token_length=1_000)
    found = [await heart.records.read_with_credential(clone) for clone in clones]
    credentials = [one[1] for one in found if one and one[1]]
    assert [(len(one.access_token), len(one.refresh_token or "")) for one in credentials] == [(1_000, 1_000)] * 3
    assert len({one.access_token for one in credentials}) == 3
