"""The audit record: events move from outboxes to journals; a crash anywhere loses none and doubles none."""

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from structlog.testing import capture_logs

from broker.models.connection import Connection
from broker.models.event import Event
from broker.vault import names
from broker.vault.journal import Journal, Parcel
from broker.vault.records import Records
from broker.vault.redis.store import Store
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event


@pytest.fixture
def journal(pipeline: Store) -> Journal:
    """A journal of a hundred events and a day."""
    return Journal(pipeline, keep_milliseconds=86_400_000, keep_events=100)


@pytest.fixture
async def connection(records: Records) -> Connection:
    """A connection with nothing but the event of its creation in the outbox."""
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


def bucket(connection: Connection) -> int:
    """The bucket of a connection."""
    return int(names.outbox(connection.id).partition("{")[2].partition("}")[0])


async def collected(journal: Journal, connection: Connection, *, at_once: int = 100) -> list[Parcel]:
    """Everything that can be read in the outbox of a connection's bucket."""
    return [parcel async for parcels in journal.collect([bucket(connection)], at_once) for parcel in parcels]


async def drain(journal: Journal, connection: Connection, *, now: int = NOW, acknowledge: bool = True) -> None:
    """Move the events of a connection's bucket."""
    parcels = await collected(journal, connection)
    await journal.move(parcels, now)
    if acknowledge:
        await journal.acknowledge(parcels)


async def note(records: Records, connection: Connection, *events: Event) -> None:
    """Write events into the outbox, each with an effect of its own."""
    for event in events:
        assert await records.annotate(connection, updated_at=event.at, event=event)


async def test_requests_go_on_while_much_is_collected(
    journal: Journal, pipeline: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fifty outboxes the process reads no more than one before everything else has had its turn, and moves some 400
    events in one step."""
    filled = list(names.buckets())[:50]
    event = Event("x.noted", "acme", NOW).encode()
    await asyncio.gather(*(pipeline.execute("XADD", names.bucket_outbox(n), "*", "e", event) for n in filled * 20))
    decode, turns = Event.decode, [0]

    def counted(text: str | bytes) -> Event:
        turns[-1] += 1
        return decode(text)

    async def everything_else() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(0)

    monkeypatch.setattr(Event, "decode", counted)
    others = asyncio.create_task(everything_else())
    moved = [len(parcels) async for parcels in journal.collect(filled, 100)]
    others.cancel()
    assert (moved, max(turns)) == ([400, 400, 200], 20)


async def test_an_event_moves_as_it_is(journal: Journal, records: Records, connection: Connection) -> None:
    """What stands in the journal is what was written, with odd texts, and the outbox is empty afterwards."""
    event = replace(
        an_event(connection, "x.noted", at=NOW + 1), request_id='"\\\n€', data={"scopes": ["a b"], "n": None}
    )
    await note(records, connection, event)
    assert await journal.waiting(names.buckets()) == {bucket(connection): 2}
    await drain(journal, connection)
    assert (await journal.of_tenant("acme", None, 10))[0][1] == event
    assert await journal.waiting(names.buckets()) == {}
    await drain(journal, connection)
    assert len(await journal.of_tenant("acme", None, 10)) == 2


async def test_a_crash_before_the_acknowledgement_doubles_nothing(
    journal: Journal, records: Records, connection: Connection
) -> None:
    """Moving the same events again, as after a crash or by two replicas, leaves each once in every journal."""
    await note(records, connection, *(an_event(connection, "x.noted", at=NOW + n // 2) for n in range(6)))
    for _ in range(3):
        await drain(journal, connection, acknowledge=False)
    await drain(journal, connection)
    assert len(await journal.of_tenant("acme", None, 50)) == 7
    assert len(await journal.of_connection("acme", connection.id, None, 50)) == 7


async def test_an_event_that_comes_in_meanwhile_is_not_acknowledged(
    journal: Journal, records: Records, connection: Connection
) -> None:
    """Only what was moved leaves the outbox."""
    parcels = await collected(journal, connection)
    await note(records, connection, an_event(connection, "x.noted"))
    await journal.move(parcels, NOW)
    await journal.acknowledge(parcels)
    assert [p.event.type for p in await collected(journal, connection)] == ["x.noted"]


async def test_a_look_ends_beside_a_connection_that_never_rests(
    journal: Journal, records: Records, connection: Connection
) -> None:
    """What comes in while an outbox is looked through waits for the next look."""
    await note(records, connection, an_event(connection, "x.noted"))
    seen = 0
    async for parcels in journal.collect([bucket(connection)], 1):
        seen += len(parcels)
        await note(records, connection, an_event(connection, "x.later"))
    assert seen == 2


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"[]",
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": null, "at": 1}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "acme", "at": "soon"}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "acme", "at": 1e400}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "acme", "at": 1.5}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "\\ud800", "at": 1}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "acme", "at": 9007199254740992}',
        b'{"id": "evt_1", "type": "x.noted", "tenant": "acme", "at": 1, "data": 7}',
        b"\xff",
    ],
)
async def test_what_cannot_be_read_is_passed_over_and_stays(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis, entry: bytes
) -> None:
    """However many there are, before, between and behind: the others arrive; each is told once per look."""
    outbox = names.outbox(connection.id)
    for _ in range(3):
        raw_store.xadd(outbox, {"e": entry})
    await note(records, connection, an_event(connection, "x.noted"))
    raw_store.xadd(outbox, {"e": entry})
    with capture_logs() as logged:
        parcels = await collected(journal, connection, at_once=2)
    assert [parcel.event.type for parcel in parcels] == ["connection.created", "x.noted"]
    assert [line["event"] for line in logged] == ["event.unreadable"] * 4
    await journal.move(parcels, NOW)
    await journal.acknowledge(parcels)
    assert len(await journal.of_tenant("acme", None, 10)) == 2
    assert [fields[b"e"] for _, fields in cast("list[Any]", raw_store.xrange(outbox))] == [entry] * 4


async def test_an_event_of_a_newer_replica_is_read(journal: Journal, connection: Connection) -> None:
    """Fields that this version does not know are passed over."""
    await drain(journal, connection)
    event = an_event(connection)
    newer = json.dumps(json.loads(event.encode()) | {"trace": {"id": 1}})
    await journal._store.execute("XADD", names.outbox(connection.id), "*", "e", newer, "v", "2")
    [parcel] = await collected(journal, connection)
    # Journals are in the order of what their members begin with.
    assert (parcel.event, parcel.text) == (event, event.encode())


async def test_tenants_and_connections_see_their_own_events(
    journal: Journal, records: Records, connection: Connection
) -> None:
    """Newest first, also where several connections have events in one millisecond."""  # S5
    others = [a_connection(), a_connection(tenant="other")]
    for other in others:
        await records.create(other, CREDENTIAL, an_event(other, "connection.created"))
    await note(records, connection, an_event(connection, "x.later", at=NOW + 5))
    for each in (connection, *others):
        await drain(journal, each)
    assert len(await journal.of_tenant("acme", None, 50)) == 3
    assert len(await journal.of_tenant("other", None, 50)) == 1
    mine = await journal.of_connection("acme", connection.id, None, 50)
    assert [event.type for _, event in mine] == ["x.later", "connection.created"]
    assert {event.connection_id for _, event in mine} == {connection.id}
    older = await journal.of_connection("acme", connection.id, mine[0][0], 50)
    assert [event.type for _, event in older] == ["connection.created"]
    assert await journal.of_connection("other", connection.id, None, 50) == []


async def test_the_journal_is_trimmed_by_age_and_number(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """What is older than the retention goes, then the oldest beyond the number that is kept."""
    await note(records, connection, *(an_event(connection, "x.noted", at=NOW + n) for n in range(1, 151)))
    await drain(journal, connection)
    assert raw_store.zcard(names.journal("acme")) == 100
    await note(records, connection, an_event(connection, "x.noted", at=NOW + 86_400_000 + 100))
    await drain(journal, connection, now=NOW + 86_400_000 + 100)
    kept = await journal.of_tenant("acme", None, 100)
    assert min(event.at for _, event in kept) == NOW + 101
    assert len(kept) == 51
    assert raw_store.pttl(names.connection_journal(connection.id)) > 0


async def test_a_connections_times_are_trimmed_with_its_tenants_journal(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """However often a token is fetched, the list of the connection stays as bounded as the tenant's journal."""
    for batch in range(5):
        await note(records, connection, *(an_event(connection, at=NOW + 100 * batch + n) for n in range(90)))
        await drain(journal, connection)
        assert int(raw_store.zcard(names.connection_journal(connection.id))) <= 100
    listed = await journal.of_connection("acme", connection.id, None, 500)
    assert len(listed) == len(await journal.of_tenant("acme", None, 500)) == 100


async def test_only_connections_that_had_events_are_trimmed(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """A quiet connection costs a busy tenant no command: its times leave when it is written again, or run out."""
    quiet = a_connection()
    await records.create(quiet, CREDENTIAL, an_event(quiet, "connection.created"))
    await drain(journal, quiet)
    await note(records, connection, *(an_event(connection, at=NOW + n) for n in range(1, 151)))
    await drain(journal, connection)
    assert raw_store.zcard(names.connection_journal(quiet.id)) == 1
    await note(records, quiet, an_event(quiet, at=NOW + 151))
    await drain(journal, quiet)
    assert raw_store.zrange(names.connection_journal(quiet.id), 0, -1) == [b"%d" % (NOW + 151)]


async def test_an_outbox_is_gone_with_its_last_event(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """And only with the last one: what came meanwhile is there, and arrives."""
    parcels = await collected(journal, connection)
    await note(records, connection, an_event(connection, "x.noted"))
    await journal.move(parcels, NOW)
    await journal.acknowledge(parcels)
    assert raw_store.xlen(names.outbox(connection.id)) == 1
    await drain(journal, connection)
    assert not raw_store.exists(names.outbox(connection.id))
    await journal.acknowledge(parcels)
    assert not raw_store.exists(names.outbox(connection.id))


async def test_an_entry_of_a_later_outbox_is_never_acknowledged_in_its_predecessors_place(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """Two replicas have read the same; the slower one acknowledges when a new outbox has given the ids away again."""
    outbox, events = names.outbox(connection.id), [an_event(connection, "x.noted", at=NOW + n) for n in range(3)]
    await note(records, connection, *events)
    slow = await collected(journal, connection)
    await drain(journal, connection)
    later = [an_event(connection, "x.later", at=NOW + 10 + n) for n in range(2)]
    for parcel, event in zip(slow[1:3], later, strict=True):
        raw_store.xadd(outbox, {"e": event.encode()}, id=parcel.entry)
    await journal.move(slow, NOW)
    await journal.acknowledge(slow)
    assert [parcel.event for parcel in await collected(journal, connection)] == later


async def test_a_replica_that_comes_second_acknowledges_the_rest(
    journal: Journal, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """What the other one has removed is no reason to leave what it has not."""
    await note(records, connection, an_event(connection, "x.noted"), an_event(connection, "x.noted"))
    parcels = await collected(journal, connection)
    for arrived in (parcels[:2], parcels):
        await journal.acknowledge(arrived)
    assert not raw_store.exists(names.outbox(connection.id))


async def test_many_buckets_come_together_and_a_full_one_whole(
    journal: Journal, records: Records, raw_store: redis.Redis
) -> None:
    """Few events of many buckets are one batch; of one with many, none is left behind, and each comes once."""
    many = [a_connection() for _ in range(20)]
    for connection in many:
        await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    busy = [an_event(many[0], at=NOW + n) for n in range(100)]
    await note(records, many[0], *busy)
    batches = [batch async for batch in journal.collect(names.buckets(), 40)]
    assert len(batches) <= 8 + 3
    events = [parcel.event for batch in batches for parcel in batch]
    assert len(events) == len({event.id for event in events}) == 120
    assert [event for event in events if event.type == "token.released"] == busy


async def test_each_connection_of_a_bucket_has_times_of_its_own(
    journal: Journal, connection: Connection, raw_store: redis.Redis
) -> None:
    """Those of many connections go into the store together; none gets another's, and all end."""
    await drain(journal, connection)
    others = [one for one in (a_connection() for _ in range(20_000)) if bucket(one) == bucket(connection)][:3]
    pairs = [(one, NOW + 10 * times + n) for times, one in enumerate((*others, connection), 1) for n in range(times)]
    for one, at in pairs:
        await journal.note(an_event(one, at=at))
    await drain(journal, connection)
    for times, one in enumerate(others, 1):
        noted = raw_store.zrange(names.connection_journal(one.id), 0, -1)
        assert noted == [b"%d" % (NOW + 10 * times + n) for n in range(times)]
        assert raw_store.pttl(names.connection_journal(one.id)) > 0
    assert len(await journal.of_connection("acme", connection.id, None, 50)) == 1 + len(others) + 1


async def test_an_event_in_other_words_is_struck_all_the_same(
    journal: Journal, records: Records, connection: Connection
) -> None:
    """A newer replica says more in it; who undoes it knows it by what both know."""
    event = an_event(connection, "x.noted")
    newer = json.dumps(json.loads(event.encode()) | {"trace": 1}, separators=(",", ":"))
    await journal._store.execute("XADD", names.outbox(connection.id), "*", "e", newer)
    await drain(journal, connection)
    assert await journal.strike(event)
    assert not await journal.strike(event)
    assert [e.type for _, e in await journal.of_tenant("acme", None, 10)] == ["connection.created"]
