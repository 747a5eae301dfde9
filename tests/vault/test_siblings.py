"""Which connections may live from one grant: found by account, known while they are being made."""

from dataclasses import replace

import pytest
import redis

from broker.clock import system_clock
from broker.models.account import Account
from broker.models.connection import Connection, Minted, Status
from broker.vault import names
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.siblings import Siblings
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event
from tests.waiting import eventually

APP = Minted("https://issuer.example", "app-1")


@pytest.fixture
def siblings(pipeline: Store) -> Siblings:
    """Siblings in the test's store."""
    return Siblings(pipeline)


async def created(records: Records, connection: Connection) -> Connection:
    """Store a connection."""
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


async def test_a_new_connection_is_listed_in_every_index(
    records: Records, siblings: Siblings, raw_store: redis.Redis
) -> None:
    """By tenant and subject with its time, and by account; listing it again changes nothing."""
    connection = await created(records, a_connection())
    await records.index(connection)
    listed = [(connection.id.encode(), float(NOW))]
    assert raw_store.zrange(names.tenant_index("acme"), 0, -1, withscores=True) == listed
    assert raw_store.zrange(names.subject_index("acme", "ann"), 0, -1, withscores=True) == listed
    assert await siblings.sharing(connection) == [connection.id]
    await records.unindex(connection.id, "acme", "ann")
    await siblings.leave(connection)
    assert raw_store.zcard(names.tenant_index("acme")) == 0
    assert raw_store.zcard(names.subject_index("acme", "ann")) == 0
    assert await siblings.sharing(connection) == []


async def test_an_ended_connection_is_not_listed_among_its_accounts_again(
    records: Records, siblings: Siblings, raw_store: redis.Redis
) -> None:
    """Its event may be drained after its end; then it stands under tenant and subject only."""
    connection = await created(records, a_connection())
    await siblings.leave(connection)
    await records.index(replace(connection, status=Status.REVOKED))
    assert await siblings.sharing(connection) == []
    assert raw_store.zcard(names.tenant_index("acme")) == raw_store.zcard(names.subject_index("acme", "ann")) == 1


async def test_a_connection_that_changed_its_account_leaves_the_old_one(records: Records, siblings: Siblings) -> None:
    """Renewed for another account, it stands under that alone; renewed for the same, it stays where it is."""
    before = await created(records, a_connection())
    await records.index(before, formerly=before)
    assert await siblings.sharing(before) == [before.id]
    after = replace(before, account=Account("usr_2"))
    await records.index(after, formerly=before)
    assert await siblings.sharing(before) == []
    assert await siblings.sharing(after) == [before.id]


async def test_a_connection_whose_account_nobody_knows_may_be_anybodys_sibling(
    records: Records, siblings: Siblings
) -> None:
    """Among those that share an account stand the ones of unknown accounts of the same app, and no others."""  # P9
    known = await created(records, a_connection())
    unknown = await created(records, a_connection(account=None, tenant="other"))
    await created(records, a_connection(account=Account("usr_2")))
    await created(records, a_connection(account=None, minted=replace(known.minted, client_id="app-2")))
    assert set(await siblings.sharing(known)) == {known.id, unknown.id}


async def test_an_exchange_is_expected_until_it_is_over_or_out_of_time(
    siblings: Siblings, raw_store: redis.Redis
) -> None:
    """Each app for itself; what is over is not expected any more."""  # P9
    now = system_clock()
    await siblings.expect(APP, "cs_one", now=now, until=now + 60_000)
    assert await siblings.expecting(APP, now=now)
    assert not await siblings.expecting(replace(APP, client_id="app-2"), now=now)
    assert not await siblings.expecting(APP, now=now + 60_001)
    await siblings.arrived(APP, "cs_one")
    assert not await siblings.expecting(APP, now=now)
    assert raw_store.dbsize() == 1  # the keyring


async def test_what_nobody_takes_back_runs_out(siblings: Siblings, raw_store: redis.Redis) -> None:
    """An announcement of a process that died is gone from the store soon after its end."""  # P9
    key = names.exchanges(APP.issuer, APP.client_id)
    until = system_clock() + 300
    await siblings.expect(APP, "cs_one", now=until - 300, until=until)
    assert raw_store.pexpiretime(key) == until
    await eventually(lambda: not raw_store.exists(key))


async def test_a_shorter_announcement_cuts_no_longer_one(siblings: Siblings, raw_store: redis.Redis) -> None:
    """They share a key; it lives as long as the longest of them, whichever came first."""  # P9
    now = system_clock()
    await siblings.expect(APP, "cs_one", now=now, until=now + 60_000)
    await siblings.expect(APP, "cs_two", now=now, until=now + 1_000)
    key = names.exchanges(APP.issuer, APP.client_id)
    assert raw_store.pexpiretime(key) == now + 60_000
    assert await siblings.expecting(APP, now=now + 30_000)
    await siblings.expect(APP, "cs_three", now=now, until=now + 90_000)
    assert raw_store.pexpiretime(key) == now + 90_000


async def test_those_who_died_do_not_gather_at_a_busy_app(siblings: Siblings, raw_store: redis.Redis) -> None:
    """The key lives on with each new announcement; what has run out in it leaves with the next."""
    now = system_clock()
    for number in range(10):
        await siblings.expect(APP, f"cs_{number}", now=now + number, until=now + number + 60_000)
    assert raw_store.zcard(names.exchanges(APP.issuer, APP.client_id)) == 10
    await siblings.expect(APP, "cs_later", now=now + 60_005, until=now + 120_005)
    left = raw_store.zrange(names.exchanges(APP.issuer, APP.client_id), 0, -1)
    assert left == [b"cs_5", b"cs_6", b"cs_7", b"cs_8", b"cs_9", b"cs_later"]
