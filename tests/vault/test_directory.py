"""Listing connections: a tenant's or a subject's, filtered, in pages, and healing as it goes."""

from dataclasses import replace

import pytest
import redis

from broker.errors import InvalidRequest
from broker.models.account import Account
from broker.models.connection import Connection, Status
from broker.vault import directory, names
from broker.vault.directory import Directory
from broker.vault.listing import decode_cursor
from broker.vault.records import Records
from broker.vault.redis.store import Store
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event


@pytest.fixture
def lists(pipeline: Store, records: Records) -> Directory:
    """The directory under test."""
    return Directory(pipeline, records)


async def stored(records: Records, count: int, **changes: object) -> list[Connection]:
    """``count`` connections, every three of one millisecond."""
    connections = [a_connection(created_at=NOW + number // 3, **changes) for number in range(count)]
    for connection in connections:
        await records.create(connection, CREDENTIAL, an_event(connection))
    return connections


def anything(_connection: Connection) -> bool:
    """No filter."""
    return True


async def ids(lists: Directory, *, limit: int, subject: str | None = None, provider: str | None = None) -> list[str]:
    """All ids of tenant ``acme``, page by page."""
    seen, cursor = [], None
    while True:
        page, cursor = await lists.page(
            "acme",
            subject=subject,
            wanted=lambda connection: provider in {None, connection.provider},
            cursor=cursor,
            limit=limit,
        )
        assert len(page) <= limit
        seen += [connection.id for connection in page]
        if cursor is None:
            return seen


@pytest.mark.parametrize("limit", [1, 4, 10, 200])
async def test_every_connection_is_listed_once_newest_first(records: Records, lists: Directory, limit: int) -> None:
    """Whatever the page size; another tenant's are not among them."""  # S5
    mine = await stored(records, 10)
    await stored(records, 5, tenant="other")
    newest_first = sorted(mine, key=lambda connection: (connection.created_at, connection.id), reverse=True)
    assert await ids(lists, limit=limit) == [connection.id for connection in newest_first]


async def test_a_subjects_connections_are_listed_alone(records: Records, lists: Directory) -> None:
    """Of one tenant's subjects only the one asked for; one that looks like a pattern is just a name."""
    await stored(records, 3)
    (odd,) = await stored(records, 1, subject="*:\n{x}")
    assert await ids(lists, limit=10, subject="*:\n{x}") == [odd.id]
    assert await ids(lists, limit=10, subject="*") == []


async def test_a_filter_that_matches_little_finds_it_all(
    records: Records, lists: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call looks at a bounded number of entries; an empty page with a cursor is not the end."""
    (needle,) = await stored(records, 1, provider="rare")
    await stored(records, 30)
    monkeypatch.setattr(directory, "_READ_AT_ONCE", 5)
    monkeypatch.setattr(directory, "_LOOKED_AT_MOST", 10)

    def is_rare(connection: Connection) -> bool:
        return connection.provider == "rare"

    page, cursor = await lists.page("acme", subject=None, wanted=is_rare, cursor=None, limit=50)
    assert page == []
    assert cursor is not None
    assert await ids(lists, limit=50, provider="rare") == [needle.id]


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 7])
async def test_no_cursor_names_a_connection_that_is_not_shown(
    records: Records, lists: Directory, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Wherever a page ends, also among entries of one millisecond: nothing is left out, doubled or given away."""  # S5
    moments = [NOW + moment for moment in (0, 0, 0, 0, 1, 2, 2, 2, 3, 3)]
    hidden = [(await stored(records, 1, provider="hidden"))[0] for _ in moments]
    shown = [(await stored(records, 1))[0] for _ in moments]
    for index, both in enumerate(zip(hidden, shown, strict=True)):
        for connection in both:
            await records.index(replace(connection, created_at=moments[index]))
    monkeypatch.setattr(directory, "_READ_AT_ONCE", at_once)
    monkeypatch.setattr(directory, "_LOOKED_AT_MOST", at_once)
    seen, cursor = [], None
    while True:
        page, cursor = await lists.page(
            "acme", subject=None, wanted=lambda c: c.provider != "hidden", cursor=cursor, limit=4
        )
        seen += [connection.id for connection in page]
        if cursor is None:
            break
        told = decode_cursor(cursor).member
        assert told not in {connection.id for connection in hidden}
        assert told in seen or len(told) < len("con_") + 4
    assert len(seen) == len(set(seen))
    assert set(seen) == {connection.id for connection in shown}


async def test_an_entry_without_a_record_leaves_the_list(
    records: Records, lists: Directory, raw_store: redis.Redis
) -> None:
    """The records are the truth: what is gone is skipped and taken off the index."""
    kept, gone = await stored(records, 2)
    raw_store.delete(names.record(gone.id))
    assert await ids(lists, limit=10) == [kept.id]
    assert await ids(lists, limit=10, subject="ann") == [kept.id]
    assert raw_store.zrange(names.tenant_index("acme"), 0, -1) == [kept.id.encode()]
    assert raw_store.zrange(names.subject_index("acme", "ann"), 0, -1) == [kept.id.encode()]


async def test_a_foreign_entry_in_an_index_is_not_shown(
    records: Records, lists: Directory, raw_store: redis.Redis
) -> None:
    """An index that names another tenant's connection does not open it; the record's tenant decides."""  # S5
    (foreign,) = await stored(records, 1, tenant="other")
    raw_store.zadd(names.tenant_index("acme"), {foreign.id: NOW})
    assert await ids(lists, limit=10) == []


async def test_the_filter_sees_the_whole_connection(records: Records, lists: Directory) -> None:
    """Status is judged by the record as it is now."""
    first, second = await stored(records, 2)
    await records.annotate(first, status=Status.DISABLED, updated_at=NOW)
    page, _ = await lists.page("acme", subject=None, wanted=lambda c: c.status is Status.ACTIVE, cursor=None, limit=10)
    assert [connection.id for connection in page] == [second.id]


async def test_a_foreign_cursor_is_refused(lists: Directory) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidRequest):
        await lists.page("acme", subject=None, wanted=anything, cursor="not ours", limit=10)


async def test_a_damaged_record_hides_no_other(records: Records, lists: Directory, raw_store: redis.Redis) -> None:
    """It is passed over and stays on the list."""  # K3
    damaged, sound = a_connection(), a_connection()
    for connection in (damaged, sound):
        await records.create(connection, CREDENTIAL, an_event(connection))
    raw_store.hset(names.record(damaged.id), "d", "{")
    found, _ = await lists.page("acme", subject=None, wanted=lambda _: True, cursor=None, limit=10)
    assert [connection.id for connection in found] == [sound.id]
    assert raw_store.zscore(names.tenant_index("acme"), damaged.id) is not None


async def test_what_ended_leaves_every_list_also_the_one_of_unknown_accounts(
    records: Records, lists: Directory, raw_store: redis.Redis
) -> None:
    """Whose account it is was learned, and a crash has left it where it stood before."""
    unknown = a_connection(account=None)
    await records.create(unknown, CREDENTIAL, an_event(unknown))
    before = raw_store.keys("broker:account:*")
    assert await records.annotate(unknown, account=Account("usr_1"), status=Status.REVOKED, updated_at=NOW)
    await records.index(replace(unknown, account=Account("usr_1")))
    assert len(raw_store.keys("broker:account:*")) == 2
    await lists.forget(unknown.id)
    assert (len(before), raw_store.keys("broker:account:*")) == (1, [])
    assert not raw_store.exists(names.record(unknown.id))
