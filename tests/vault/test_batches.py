"""Batches at rest: steps that only go where they should, and connections that are nobody's until they are published."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, get_args

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.models.ids import is_id
from broker.vault import names, scripts
from broker.vault.batches import KEPT, Batch, Batches, State
from broker.vault.keyring import Keyring
from broker.vault.record_form import Brought
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.staged import How, Staged
from tests.vault.rotating import KEY_1, KEY_2
from tests.vault.samples import CREDENTIAL, NOW, a_connection

IMPORT = "imp_" + "0" * 22
OTHER = "imp_" + "1" * 22
HOWS: Final[tuple[How, ...]] = get_args(How)
STATES: Final[tuple[State, ...]] = get_args(State)


def a_batch(rows: int = 3) -> Batch:
    """A batch that begins."""
    return Batch(IMPORT, "staging", NOW, NOW, "rows.csv", "acme", rows, "ab" * 32)


def brought(batch: str = IMPORT, generation: int = 1) -> Brought:
    """By this batch."""
    return Brought(batch, generation, NOW, verified=True)


@pytest.fixture
def batches(pipeline: Store, keyring: Keyring) -> Batches:
    """Batches in the empty store."""
    return Batches(pipeline, keyring)


@pytest.fixture
def staged(pipeline: Store, keyring: Keyring) -> Staged:
    """What they bring."""
    return Staged(pipeline, keyring)


async def test_a_batch_moves_only_from_where_it_is_believed_to_be(batches: Batches, raw_store: redis.Redis) -> None:
    """Of two who take it further one does; it has an end of its own until its commit point."""
    begun = await batches.step(a_batch(), among=[""], to="staging", now=NOW)
    assert begun == a_batch() == await batches.read(IMPORT)
    assert 0 < raw_store.pttl(names.batch(IMPORT)) <= KEPT
    assert await batches.step(a_batch(), among=[""], to="staging", now=NOW) is None
    assert await batches.step(a_batch(), among=["publishing"], to="done", now=NOW) is None
    moved = await batches.step(a_batch(), among=["staging"], to="securing", now=NOW + 1)
    assert moved is not None
    assert (moved.state, moved.since) == ("securing", NOW + 1)
    assert raw_store.pttl(names.batch(IMPORT)) == -1
    assert await batches.all() == [moved]
    await batches.forget(moved)
    assert await batches.read(IMPORT) is None
    assert not raw_store.keys("broker:imp*")
    assert not raw_store.exists(names.BATCHES)


async def test_a_file_is_known_again_under_every_key_of_the_ring(pipeline: Store) -> None:
    """And not without one of them: its digest alone proves no guess at what stands in it."""
    old, both = Keyring([("k1", KEY_1)]), Keyring([("k2", KEY_2), ("k1", KEY_1)])
    (before,) = Batches(pipeline, old).ids_of(b"file")
    assert is_id("imp", before)
    assert Batches(pipeline, both).ids_of(b"file")[1] == before
    assert Batches(pipeline, Keyring([("k2", KEY_2)])).ids_of(b"file") == Batches(pipeline, both).ids_of(b"file")[:1]
    assert Batches(pipeline, old).ids_of(b"other") != [before]


async def test_ids_follow_from_the_seed_but_for_those_that_are_set_aside(batches: Batches) -> None:
    """The same of the same row; another of another, and of another batch."""
    batch = a_batch(4)
    drawn = [batch.connection_id(position) for position in range(1, 5)]
    assert all(is_id("con", each) for each in drawn)
    assert len({*drawn, Batch(OTHER, "staging", NOW, NOW, "", None, 4, "cd" * 32).connection_id(1)}) == 5
    own = "con_" + "7" * 22
    await batches.set_aside(batch, {2: own, 3: ""})
    assert await batches.ids(batch, range(1, 5)) == [(1, drawn[0]), (2, own), (4, drawn[3])]
    assert await batches.aside(batch) == {2: own, 3: ""}
    await batches.set_aside(batch, {})
    assert [found for _, found in await batches.ids(batch, range(1, 5))] == drawn


async def test_what_is_staged_has_no_tenant_until_it_is_published(
    staged: Staged, pipeline: Store, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """Then it is as if it had been made the usual way, and says which batch brought it."""
    records, connection = Records(pipeline, keyring), a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert await records.read(connection.id) is None
    assert await records.read_with_credential(connection.id) is None
    assert raw_store.hget(names.record(connection.id), "t") is None
    found = await staged.read(connection.id)
    assert found is not None
    assert (found.connection, found.brought, found.published) == (connection, brought(), False)
    for _ in range(2):
        assert await staged.publish(connection, brought())
        assert await records.read_with_credential(connection.id) == (connection, CREDENTIAL)
        assert raw_store.pttl(names.record(connection.id)) == -1
    assert raw_store.hget(names.record(connection.id), "bt") is None


async def test_staging_again_changes_nothing_but_the_end(staged: Staged, raw_store: redis.Redis) -> None:
    """What is there was tested; and what is somebody's is left alone."""
    connection = a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought())
    before = raw_store.hgetall(names.record(connection.id))
    raw_store.pexpire(names.record(connection.id), 1000)
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert raw_store.hgetall(names.record(connection.id)) == before
    assert raw_store.pttl(names.record(connection.id)) > KEPT - 60_000
    assert not await staged.stage(connection, CREDENTIAL, brought(OTHER))
    assert await staged.keep(IMPORT, connection.id, for_ever=True)
    assert raw_store.pttl(names.record(connection.id)) == -1
    assert not await staged.keep(OTHER, connection.id, for_ever=False)
    assert not await staged.keep(IMPORT, "con_" + "9" * 22, for_ever=False)
    assert not raw_store.exists(names.record("con_" + "9" * 22))


async def test_the_id_of_a_connection_that_is_there_is_taken(
    staged: Staged, pipeline: Store, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """Staging over it, publishing and withdrawing it change nothing."""
    connection = a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought(OTHER))
    assert await staged.publish(connection, brought(OTHER))
    before = raw_store.hgetall(names.record(connection.id))
    assert not await staged.stage(connection, CREDENTIAL, brought())
    assert not await staged.publish(connection, brought())
    assert await staged.withdraw(connection.id, brought(), "force") == "gone"
    assert not await staged.keep(OTHER, connection.id, for_ever=False)
    assert raw_store.hgetall(names.record(connection.id)) == before
    # Nor is a batch mistaken for one whose id begins alike.
    assert not await staged.stage(connection, CREDENTIAL, brought(OTHER[:-1]))
    # To the batch that brought it it is no stranger.
    assert await staged.stage(connection, CREDENTIAL, brought(OTHER))
    assert raw_store.hgetall(names.record(connection.id)) == before


async def test_what_another_run_brought_is_neither_published_nor_withdrawn(
    staged: Staged, raw_store: redis.Redis
) -> None:
    """A process that wakes up after the batch was taken back, and its file imported anew, finds nothing of its own."""
    connection, earlier = a_connection(), replace(brought(), at=NOW - 1)
    assert await staged.stage(connection, CREDENTIAL, brought())
    before = raw_store.hgetall(names.record(connection.id))
    assert not await staged.publish(connection, earlier)
    assert await staged.withdraw(connection.id, earlier, "force") == "gone"
    await staged.let_go(connection.id, earlier)
    assert raw_store.hgetall(names.record(connection.id)) == before
    assert await staged.publish(connection, brought())
    assert await staged.withdraw(connection.id, brought(), "staged") == "published"
    await staged.let_go(connection.id, brought())
    assert raw_store.hget(names.record(connection.id), "b") is None


async def test_withdrawing_takes_all_that_is_only_its_own(staged: Staged, raw_store: redis.Redis) -> None:
    """Looking takes nothing; what its neighbours in the bucket have stays."""
    connection = a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert await staged.publish(connection, brought())
    raw_store.hset(names.device_sessions(connection.id), "x", "y")
    members = {f"{kind}:{connection.id}": 1 for kind in ("refresh", "check", "abandon")}
    raw_store.zadd(names.due(connection.id), {**members, "refresh:con_other": 1})
    for _ in range(2):
        assert await staged.withdraw(connection.id, brought(), "look") == "removed"
    assert await staged.withdraw(connection.id, brought(), "unchanged") == "removed"
    assert await staged.withdraw(connection.id, brought(), "unchanged") == "gone"
    assert raw_store.keys("broker:{*") == [names.due(connection.id).encode()]
    assert raw_store.zrange(names.due(connection.id), 0, -1) == [b"refresh:con_other"]


@pytest.mark.parametrize("sign", ["generation", "intent", "parked"])
async def test_what_may_have_another_credential_is_withdrawn_only_by_force(
    staged: Staged, raw_store: redis.Redis, sign: str
) -> None:
    """It was renewed, or nobody knows whether it was, or what came too late lies beside it."""
    connection, came = a_connection(), replace(brought(), parked=1)
    assert await staged.stage(connection, CREDENTIAL, came)
    assert await staged.publish(connection, came)
    raw_store.lpush(names.parked(connection.id), "came with it")
    assert await staged.withdraw(connection.id, came, "look") == "removed"
    match sign:
        case "generation":
            raw_store.hset(names.record(connection.id), "g", 2)
        case "intent":
            raw_store.hset(names.record(connection.id), "i", "{}")
        case _:
            raw_store.lpush(names.parked(connection.id), "came late")
    before = raw_store.hgetall(names.record(connection.id))
    assert await staged.withdraw(connection.id, came, "look") == "changed"
    assert await staged.withdraw(connection.id, came, "unchanged") == "changed"
    assert raw_store.hgetall(names.record(connection.id)) == before
    assert await staged.withdraw(connection.id, came, "force") == "forced"
    assert not raw_store.keys("broker:{*con_*")


async def test_what_is_being_refreshed_is_not_withdrawn_by_anybody(staged: Staged, raw_store: redis.Redis) -> None:
    """Who refreshes it would find no record for what it has got, and end the grant at the provider."""
    connection = a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert await staged.publish(connection, brought())
    raw_store.set(names.lease(connection.id), "somebody")
    for how in HOWS:
        assert await staged.withdraw(connection.id, brought(), how) == ("published" if how == "staged" else "busy")
    assert raw_store.exists(names.record(connection.id), names.lease(connection.id)) == 2


async def test_what_was_disconnected_is_left_as_that(staged: Staged, raw_store: redis.Redis) -> None:
    """It is on its way out, with what it has to say."""
    connection = a_connection()
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert await staged.publish(connection, brought())
    raw_store.hset(names.record(connection.id), "st", "revoked")
    assert await staged.withdraw(connection.id, brought(), "force") == "ended"
    assert raw_store.exists(names.record(connection.id))


async def test_who_claimed_a_batch_before_takes_no_step_of_it(
    batches: Batches, pipeline: Store, raw_store: redis.Redis
) -> None:
    """Neither further nor back; and what it knows of the rows it keeps to itself."""
    first = await batches.step(replace(a_batch(), by="first"), among=[""], to="staging", now=NOW)
    assert first is not None
    second = await batches.claim(IMPORT, "second")
    assert second == replace(first, by="second")
    before = raw_store.hgetall(names.batch(IMPORT))
    for to in STATES:
        assert await batches.step(first, among=["staging"], to=to, now=NOW + 1) is None
    assert not await batches.set_aside(first, {1: ""})
    assert not await batches.forget(first)
    # Nor where it was claimed just after the look.
    assert not await pipeline.run(scripts.BATCH_FORGET, [names.batch(IMPORT), names.batch_rows(IMPORT)], ["first"])
    assert raw_store.hgetall(names.batch(IMPORT)) == before
    assert await batches.set_aside(second, {1: ""})
    assert await batches.step(second, among=["staging"], to="refusing", now=NOW + 1) is not None
    assert 0 < raw_store.pttl(names.batch(IMPORT)) <= KEPT
    assert await batches.forget(second)
    assert await batches.claim(IMPORT, "third") is None
    assert not raw_store.keys("broker:*imp_*")


async def test_setting_aside_leaves_out_nothing_on_its_way(
    batches: Batches, pipeline: Store, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed in the middle leaves what stood there before: those connections can still be found."""
    batch = await batches.step(a_batch(4), among=[""], to="staging", now=NOW)
    assert batch is not None
    restored = {position: "con_" + str(position) * 22 for position in (1, 2, 3)}
    assert await batches.set_aside(batch, restored)
    kind = type(pipeline)
    run, cut = kind.run, 0
    for killed_at in range(2):
        commands = iter(range(killed_at))

        async def counted(self: Store, *parts: Any, left: Iterator[int] = commands) -> Any:
            nonlocal cut
            if next(left, None) is None:
                cut += 1
                raise StoreUnavailable("killed")
            return await run(self, *parts)

        with monkeypatch.context() as patch, suppress(StoreUnavailable):
            patch.setattr(kind, "run", counted)
            patch.setattr("broker.vault.batches._AT_ONCE", 1)
            await batches.set_aside(batch, restored)
        assert await batches.aside(batch) == restored
    assert cut == 2
    assert 0 < raw_store.pttl(names.batch_rows(IMPORT)) <= KEPT


async def test_every_step_runs_on_a_cluster(cluster: Store, keyring: Keyring) -> None:
    """All keys of a script lie in one slot."""
    batches, staged, connection = Batches(cluster, keyring), Staged(cluster, keyring), a_connection()
    batch = await batches.step(a_batch(), among=[""], to="staging", now=NOW)
    assert batch is not None
    await batches.set_aside(batch, {1: connection.id})
    await batches.keep_aside(batch)
    assert await staged.stage(connection, CREDENTIAL, brought())
    assert await staged.keep(IMPORT, connection.id, for_ever=True)
    assert await staged.publish(connection, brought())
    assert [found.connection for found in await staged.read_all([connection.id]) if found] == [connection]
    await Records(cluster, keyring).index(connection)
    assert await staged.of_subject("acme", "ann") == [connection]
    assert await staged.withdraw(connection.id, brought(), "unchanged") == "removed"
    await staged.let_go(connection.id, brought())
    batch = await batches.claim(IMPORT, "somebody")
    assert batch is not None
    assert await batches.ids(batch, range(1, 2)) == [(1, connection.id)]
    await batches.forget(batch)
    assert await batches.all() == []
