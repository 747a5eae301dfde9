"""Settling: events reach journal and sink once each, whatever happens in between, and leave when their time is over."""

import asyncio
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.errors import StoreUnavailable
from broker.models.event import Event
from broker.models.ids import bucket_of, new_id
from broker.observe.sink import Sink
from broker.providers import Registry
from broker.settings import Settings
from broker.settings.values import Retention
from broker.vault import names
from broker.vault.journal import Journal
from tests.journey import MakeClient
from tests.waiting import eventually
from tests.world import FakeClock, ServiceClient

DAY = 86_400_000


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Events are kept for a day and ten per tenant, and written to a file, too."""
    return settings.model_copy(
        update={"events_retention": Retention(DAY, 10), "events_sink": f"file:{tmp_path}/events.jsonl"}
    )


@pytest.fixture
async def app(
    heart: Heart, make_client: MakeClient, sandbox: httpx2.Client, raw_store: redis.Redis, tmp_path: Path
) -> ServiceClient:
    """A backend with every scope. That it was registered is on record, and of no interest here."""
    app = await make_client()
    await heart.bookkeeping.settle_all()
    raw_store.delete(names.journal("default"))
    (tmp_path / "events.jsonl").unlink()
    return app


@pytest.fixture
async def connection_id(app: ServiceClient) -> str:
    """A connection whose making has been settled."""
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    made = (await app.call("POST", "/v1/connections", order)).json()
    await app.call("GET", "/v1/events")
    return str(made["id"])


def journal(store: redis.Redis, tenant: str = "default") -> list[Event]:
    """A tenant's journal, oldest first."""
    stored: Any = store.zrange(names.journal(tenant), 0, -1)
    return [Event.decode(member) for member in stored]


def written(tmp_path: Path) -> list[str]:
    """The ids of the events in the sink's file."""
    return [json.loads(line)["id"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]


async def test_events_move_from_the_outbox_to_journal_and_sink(
    heart: Heart, app: ServiceClient, connection_id: str, raw_store: redis.Redis, tmp_path: Path
) -> None:
    """Nothing is left behind; the file holds the same events, and is its owner's alone."""
    for _ in range(3):
        await app.fetch(connection_id)
    assert raw_store.xlen(names.outbox(connection_id)) == 3
    assert await heart.bookkeeping.settle_all() == 3
    assert await heart.bookkeeping.settle_all() == 0
    assert raw_store.xlen(names.outbox(connection_id)) == 0
    assert len(journal(raw_store)) == 4
    assert sorted(written(tmp_path)) == sorted(event.id for event in journal(raw_store))
    assert stat.S_IMODE((tmp_path / "events.jsonl").stat().st_mode) == 0o600


async def test_the_sink_says_what_the_api_says(
    heart: Heart, app: ServiceClient, connection_id: str, tmp_path: Path
) -> None:
    """Line for line the items of ``/v1/events``: every field, RFC 3339 times and no other kind of time."""
    await app.fetch(connection_id)
    shown = (await app.call("GET", "/v1/events")).json()["items"]
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert sorted(lines, key=str) == sorted(shown, key=str)
    (created,) = [line for line in lines if line["type"] == "connection.created"]
    assert created["at"].endswith("Z")
    assert created["data"].keys() == {
        *("provider", "subject", "scopes", "requested_scopes", "means", "session"),
    }


async def test_settling_twice_at_once_doubles_nothing(
    heart: Heart,
    app: ServiceClient,
    connection_id: str,
    raw_store: redis.Redis,
    settings: Settings,
    providers: Registry,
) -> None:
    """Two replicas, several times each, on the same outbox."""
    for _ in range(5):
        await app.fetch(connection_id)
    other = build_heart(settings, providers, heart.clock)
    settlers = [heart.bookkeeping, other.bookkeeping] * 3
    await asyncio.gather(*(settler.settle_all() for settler in settlers))
    await other.aclose(work_ends_within=0)
    ids = [event.id for event in journal(raw_store)]
    assert len(ids) == len(set(ids)) == 6
    listed = (await app.call("GET", f"/v1/connections/{connection_id}/events")).json()["items"]
    assert sorted(event["id"] for event in listed) == sorted(ids)


async def test_many_who_ask_at_once_share_a_look(
    app: ServiceClient, heart: Heart, connection_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty requests for events look at all buckets at most twice, and each sees what was recorded before it asked."""
    looks = 0
    collect = heart.journal.collect

    def counted(buckets: Any, count: int) -> Any:
        nonlocal looks
        looks += 1
        return collect(buckets, count)

    monkeypatch.setattr(heart.journal, "collect", counted)
    assert (await app.fetch(connection_id)).status_code == 200
    answers = await asyncio.gather(*(app.call("GET", "/v1/events?type=token.released") for _ in range(50)))
    assert [len(answer.json()["items"]) for answer in answers] == [1] * 50
    assert looks <= 2


@pytest.mark.parametrize("step", ["move", "acknowledge"])
async def test_a_crash_at_any_step_loses_and_doubles_nothing(
    heart: Heart,
    app: ServiceClient,
    connection_id: str,
    raw_store: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """The process dies after the sink was written, or after the journal was."""
    for _ in range(3):
        await app.fetch(connection_id)

    async def dies(*_: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, step, dies)
        with pytest.raises(SystemExit):
            await heart.bookkeeping.settle_all()
    await heart.bookkeeping.settle_all()
    ids = [event.id for event in journal(raw_store)]
    assert len(ids) == len(set(ids)) == 4
    # The sink may tell an event twice, and its id tells that; it leaves out none.
    assert set(written(tmp_path)) == set(ids)
    assert raw_store.xlen(names.outbox(connection_id)) == 0


async def test_a_sink_that_cannot_be_written_keeps_events_where_they_are(
    heart: Heart, app: ServiceClient, connection_id: str, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the record is 503 until the sink works again; fetching goes on, and no event is lost."""

    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Sink, "write", full)
        assert (await app.fetch(connection_id)).status_code == 200
        answer = await app.call("GET", "/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert raw_store.xlen(names.outbox(connection_id)) == 1
        with pytest.raises(StoreUnavailable, match="the events sink can't be written: No space left on device"):
            await heart.bookkeeping.settle_all()
    assert await heart.bookkeeping.settle_all() == 1
    assert len(journal(raw_store)) == 2


async def test_while_a_write_hangs_the_record_is_refused_at_once(
    heart: Heart, app: ServiceClient, connection_id: str, tmp_path: Path
) -> None:
    """Nobody waits a second time for the same write; once it has ended, its events count, and come once."""
    assert (await app.fetch(connection_id)).status_code == 200
    (tmp_path / "events.jsonl").unlink()
    os.mkfifo(tmp_path / "events.jsonl")  # writing begins when somebody reads
    with pytest.raises(StoreUnavailable, match="a write takes more than 1 s"):
        await heart.bookkeeping.settle_all()
    for path in ("/v1/events", f"/v1/connections/{connection_id}/events"):
        answer = await app.call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert "an earlier write has not ended" in answer.json()["detail"]
    with await asyncio.to_thread((tmp_path / "events.jsonl").open) as collector:
        line = await asyncio.to_thread(collector.readline)
        await eventually(lambda: all(thread.name != "events sink" for thread in threading.enumerate()))
        [listed] = (await app.call("GET", "/v1/events?type=token.released")).raise_for_status().json()["items"]
        assert json.loads(line)["id"] == listed["id"]
        assert await asyncio.to_thread(collector.read) == ""


async def test_one_unreadable_entry_does_not_stop_the_record(
    heart: Heart, app: ServiceClient, connection_id: str, raw_store: redis.Redis
) -> None:
    """Events of its own bucket and of all others are told; it stays for somebody to look at."""
    raw_store.xadd(names.outbox(connection_id), {"e": "{"})
    assert (await app.fetch(connection_id)).status_code == 200
    for _ in range(2):
        listed = (await app.call("GET", "/v1/events?type=token.released")).json()["items"]
        assert len(listed) == 1
    assert raw_store.xlen(names.outbox(connection_id)) == 1


async def test_a_connection_whose_maker_died_is_listed_again(
    heart: Heart, app: ServiceClient, raw_store: redis.Redis
) -> None:
    """The record is the truth; its event brings the index after it."""
    order = {"provider": "practice", "subject": "ann", "credentials": {}}
    made = (await app.call("POST", "/v1/connections", order)).json()
    for key in (names.tenant_index("default"), names.subject_index("default", "ann")):
        assert raw_store.delete(key) == 1
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    await heart.bookkeeping.settle_all()
    for query in ("", "?subject=ann"):
        [listed] = (await app.call("GET", f"/v1/connections{query}")).json()["items"]
        assert listed["id"] == made["id"]


async def test_no_more_events_are_kept_than_asked_for(
    heart: Heart, app: ServiceClient, connection_id: str, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """The oldest leave first, and the lists of connections follow."""
    kept = []
    for _ in range(15):
        clock.advance(seconds=1)
        kept.append((await app.fetch(connection_id)).headers["x-request-id"])
    await heart.bookkeeping.settle_all()
    assert [event.request_id for event in journal(raw_store)] == kept[-10:]
    listed = (await app.call("GET", f"/v1/connections/{connection_id}/events?limit=200")).json()["items"]
    assert [event["request_id"] for event in listed] == kept[:4:-1]


async def test_no_event_is_kept_for_longer_than_asked_for(
    heart: Heart, app: ServiceClient, connection_id: str, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """Old ones leave when a new one comes; where none comes any more, all leave by themselves."""
    await app.fetch(connection_id)
    await heart.bookkeeping.settle_all()
    clock.advance(seconds=DAY / 1000 + 1)
    latest = Event("token.released", "default", clock.now, connection_id, data={"provider": "practice"})
    raw_store.xadd(names.outbox(connection_id), {"e": latest.encode()})
    await heart.bookkeeping.settle_all()
    assert journal(raw_store) == [latest]
    for key in (names.journal("default"), names.connection_journal(connection_id)):
        assert 0 < int(raw_store.pttl(key)) <= DAY


async def test_each_tenant_has_a_journal_of_its_own(heart: Heart, raw_store: redis.Redis, clock: FakeClock) -> None:
    """Events of one bucket may belong to several; one tenant's flood takes nothing from another."""
    connection_id = new_id("con")
    for number in range(30):
        tenant = "quiet" if number == 0 else "busy"
        event = Event("token.released", tenant, clock.now + number, connection_id, data={"provider": "practice"})
        raw_store.xadd(names.bucket_outbox(bucket_of(connection_id)), {"e": event.encode()})
    assert await heart.bookkeeping.settle_all() == 30
    assert (len(journal(raw_store, "quiet")), len(journal(raw_store, "busy"))) == (1, 10)
