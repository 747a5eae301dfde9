"""Writers of one connection: the generation decides who may write, the lease who may refresh."""

import asyncio
from dataclasses import replace

import pytest
import redis

from broker.errors import SealBroken, StoreUnavailable
from broker.models.connection import Connection, Credential, Fault, Health, Status
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.leases import Flight, Lease, Leases
from broker.vault.opening import open_store
from broker.vault.records import Records
from broker.vault.redis.store import Store
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

NEXT = Credential("access-2", "refresh-2", "refresh-1")


@pytest.fixture
async def connection(records: Records) -> Connection:
    """A stored connection at generation 1."""
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


@pytest.fixture
def leases(pipeline: Store) -> Leases:
    """The leases under test."""
    return Leases(pipeline)


async def leased(leases: Leases, connection: Connection, owner: str) -> Lease:
    """The lease, which must be free."""
    lease = await leases.take(connection, owner)
    assert isinstance(lease, Lease)
    return lease


async def commit(records: Records, before: Connection, credential: Credential, lease: Lease | None = None) -> bool:
    """Replace the credential of ``before`` with the next generation's."""
    after = replace(before, generation=before.generation + 1)
    event = an_event(before, "credential.refreshed")
    return (await records.replace(before, after, credential, event, lease=lease)).stored


async def test_of_many_writers_of_one_generation_one_wins(
    records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """Twenty commits on the same generation: one is stored with one event, nineteen are told."""  # F6
    outcomes = await asyncio.gather(*(commit(records, connection, Credential(f"access-{n}")) for n in range(20)))
    assert sorted(outcomes) == [False] * 19 + [True]
    found = await records.read_with_credential(connection.id)
    assert found is not None
    assert found[0].generation == 2
    assert found[1] == Credential(f"access-{outcomes.index(True)}")
    assert raw_store.xlen(names.outbox(connection.id)) == 2


async def test_a_late_writer_changes_nothing(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Neither commit nor note nor lease of a writer that read an older generation touches the record."""  # F6
    assert await commit(records, connection, NEXT)
    before = raw_store.dump(names.record(connection.id)), raw_store.xlen(names.outbox(connection.id))
    assert not await commit(records, connection, Credential("stale"))
    assert not await records.annotate(
        connection, status=Status.REAUTH_REQUIRED, updated_at=NOW, event=an_event(connection, "x.y")
    )
    assert await leases.take(connection, "late") == "newer"
    assert (raw_store.dump(names.record(connection.id)), raw_store.xlen(names.outbox(connection.id))) == before
    assert not raw_store.exists(names.lease(connection.id))


async def test_a_gone_record_stays_gone(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """A commit after the record was deleted does not bring it back, nor leave a lease."""
    lease = await leased(leases, connection, "mine")
    raw_store.delete(names.record(connection.id))
    assert not await commit(records, connection, NEXT, lease)
    assert await leases.take(connection, "mine") == "gone"
    assert not raw_store.exists(names.record(connection.id), names.lease(connection.id))


async def test_one_owner_holds_the_lease(records: Records, leases: Leases, connection: Connection) -> None:
    """Others are told it is busy until it is dropped."""
    mine = await leased(leases, connection, "mine")
    assert await leases.take(connection, "yours") == "busy"
    assert await leases.renew(mine)
    await leases.drop(mine)
    assert isinstance(await leases.take(connection, "yours"), Lease)


async def test_who_sent_and_did_not_come_back_is_known(
    leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Since when the outcome is unknown says the first one, what may be on its way the last: until that one drops."""
    # F1, F6
    first = await leased(leases, connection, "first")
    assert (first.unknown_since, first.in_flight) == (None, None)
    assert await leases.intend(first, connection, started=NOW)
    raw_store.delete(names.lease(connection.id))  # it ran out
    second = await leased(leases, connection, "second")
    assert (second.unknown_since, second.in_flight) == (NOW, Flight("first", NOW))
    assert await leases.intend(second, connection, started=NOW + 7)
    await leases.drop(first)
    assert await leased(leases, connection, "second") == replace(second, in_flight=Flight("second", NOW + 7))
    await leases.drop(second)
    third = await leased(leases, connection, "third")
    assert (third.unknown_since, third.in_flight) == (NOW, None)


async def test_who_was_waited_for_in_vain_is_forgotten_unless_somebody_sent_since(
    leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Since when the outcome is unknown stays, and so does whose lease it is; a later flight is not the one meant."""
    # F1, F6
    first = await leased(leases, connection, "first")
    assert await leases.intend(first, connection, started=NOW)
    raw_store.delete(names.lease(connection.id))  # it ran out
    second = await leased(leases, connection, "second")
    await leases.forget_flight(second)
    assert await leased(leases, connection, "second") == replace(second, in_flight=None)
    assert await leases.intend(second, connection, started=NOW + 7)
    await leases.forget_flight(second)
    own = await leased(leases, connection, "second")
    await leases.forget_flight(own)
    assert await leased(leases, connection, "second") == replace(second, in_flight=Flight("second", NOW + 7))
    assert await leases.take(connection, "third") == "busy"


@pytest.mark.parametrize("field", ["i", "f"])
@pytest.mark.parametrize(
    "note",
    [b"\xff", b"[]", b"5", b"null", b"{}", b'{"owner":1,"started":1}', b'{"owner":"o","started":9e99}', b"[" * 5000],
    ids=lambda note: str(note)[:30],
)
async def test_a_lease_goes_back_whatever_is_noted_of_earlier_refreshes(
    leases: Leases, connection: Connection, raw_store: redis.Redis, field: str, note: bytes
) -> None:
    """Who takes it is told that the record is damaged, who holds it can drop it, and what is noted stays."""  # K3
    mine = await leased(leases, connection, "mine")
    raw_store.hset(names.record(connection.id), field, note)
    await leases.drop(mine, nothing_open=True)
    assert not raw_store.exists(names.lease(connection.id))
    with pytest.raises(SealBroken, match="damaged"):
        await leases.take(connection, "yours")
    assert not raw_store.exists(names.lease(connection.id))
    assert raw_store.hget(names.record(connection.id), field) == note


async def test_a_lease_that_was_lost_is_neither_renewed_nor_dropped(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Who was stopped for longer than the lease lasts can't prolong nor release the next owner's."""  # F6
    mine = await leased(leases, connection, "mine")
    raw_store.delete(names.lease(connection.id))  # it ran out
    await leased(leases, connection, "yours")
    assert not await leases.renew(mine)
    await leases.drop(mine)
    assert raw_store.get(names.lease(connection.id)) == b"yours"


async def test_a_stale_commit_leaves_the_next_owners_lease(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """A commit that comes too late drops only a lease of its own."""  # F6
    mine = await leased(leases, connection, "mine")
    raw_store.delete(names.lease(connection.id))
    assert await commit(records, connection, NEXT)
    second = replace(connection, generation=2)
    await leased(leases, second, "yours")
    assert not await commit(records, connection, Credential("stale"), mine)
    assert raw_store.get(names.lease(connection.id)) == b"yours"
    found = await records.read_with_credential(connection.id)
    assert found is not None
    assert found[1] == NEXT


async def test_a_lease_ends_by_itself(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """It has an end from its first moment, so a killed owner blocks nobody for long; renewing prolongs it."""  # F1
    mine = await leased(leases, connection, "mine")
    assert 0 < raw_store.pttl(names.lease(connection.id)) <= 15_000
    raw_store.pexpire(names.lease(connection.id), 1_000)
    await leases.renew(mine)
    assert raw_store.pttl(names.lease(connection.id)) > 10_000


async def test_an_intent_outlives_its_owner_until_a_commit(
    records: Records, leases: Leases, connection: Connection
) -> None:
    """The next owner learns that a refresh was begun, and nobody does after one was committed or settled."""  # F1
    first = await leased(leases, connection, "first")
    assert first.unknown_since is None
    assert await leases.intend(first, connection, started=NOW)
    await leases.drop(first)
    second = await leased(leases, connection, "second")
    assert second.unknown_since == NOW
    assert await records.annotate(connection, updated_at=NOW, lease=second, settles_intent=True)
    third = await leased(leases, connection, "third")
    assert third.unknown_since is None
    assert await leases.intend(third, connection, started=NOW)
    assert await commit(records, connection, NEXT, third)
    assert (await leased(leases, replace(connection, generation=2), "fourth")).unknown_since is None


async def test_who_lost_the_lease_may_not_send(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Stopped between lease and request: the intent is refused, be the lease another's or the generation gone."""  # F6
    stopped = await leased(leases, connection, "stopped")
    raw_store.delete(names.lease(connection.id))
    assert not await leases.intend(stopped, connection, started=NOW)
    second = await leased(leases, connection, "second")
    assert not await leases.intend(stopped, connection, started=NOW)
    assert await commit(records, connection, NEXT)
    assert not await leases.intend(second, connection, started=NOW)
    assert not raw_store.hexists(names.record(connection.id), "i")


async def test_an_intent_prolongs_its_lease(leases: Leases, connection: Connection, raw_store: redis.Redis) -> None:
    """Who waited for a turn at the provider has the whole time of a lease for the request."""
    mine = await leased(leases, connection, "mine")
    raw_store.pexpire(names.lease(connection.id), 1_000)
    assert await leases.intend(mine, connection, started=NOW)
    assert raw_store.pttl(names.lease(connection.id)) > 10_000


async def test_who_lost_the_lease_has_nothing_to_say(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Its request failed, and it says so late: neither the verdict nor the intent of who came next is touched."""  # F6
    stopped = await leased(leases, connection, "stopped")
    raw_store.delete(names.lease(connection.id))
    second = await leased(leases, connection, "second")
    assert await leases.intend(second, connection, started=NOW)
    found = Health(consecutive_failures=1, last_error=Fault("refresh_outcome_unknown", "gone", NOW))
    assert await records.annotate(connection, status=Status.REAUTH_REQUIRED, health=found, updated_at=NOW)
    late = Health(consecutive_failures=1, last_error=Fault("provider_unavailable", "silence", NOW))
    assert not await records.annotate(connection, health=late, updated_at=NOW, lease=stopped, settles_intent=True)
    kept = await records.read(connection.id)
    assert kept is not None
    assert kept.health == found
    assert raw_store.hexists(names.record(connection.id), "i")
    assert raw_store.get(names.lease(connection.id)) == b"second"


async def test_a_commit_drops_its_lease_in_the_same_step(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """No moment lies between the new credential and the free lease."""
    assert await commit(records, connection, NEXT, await leased(leases, connection, "mine"))
    assert not raw_store.exists(names.lease(connection.id))


async def test_a_commit_whose_answer_was_lost_is_repeated_without_effect(
    proxy: FaultyProxy, raw_store: redis.Redis, keyring: Keyring
) -> None:
    """The repeat answers that it is stored; generation, credential and event are there once."""  # R3
    pipeline = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    records, leases, connection = Records(pipeline, keyring), Leases(pipeline), a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    lease = await leased(leases, connection, "mine")
    proxy.drop_next_answer()
    with pytest.raises(StoreUnavailable):
        await commit(records, connection, NEXT, lease)
    assert await commit(records, connection, NEXT, lease)
    assert await commit(records, connection, NEXT, lease)
    found = await records.read_with_credential(connection.id)
    assert found is not None
    assert found[0].generation == 2
    assert raw_store.xlen(names.outbox(connection.id)) == 2
    await pipeline.aclose()


async def test_a_repeated_commit_is_a_write(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """It changes nothing, and replicas that are waited for behind it have been sent everything before it."""  # R5
    mine = await leased(leases, connection, "mine")
    assert await commit(records, connection, NEXT, mine)
    record = raw_store.hgetall(names.record(connection.id))
    written = raw_store.info("persistence")["rdb_changes_since_last_save"]
    assert await commit(records, connection, NEXT, mine)
    assert raw_store.info("persistence")["rdb_changes_since_last_save"] > written
    assert raw_store.hgetall(names.record(connection.id)) == record


@pytest.mark.parametrize(("due", "stands"), [(NOW + 5, NOW + 5), (None, None)])
async def test_what_is_due_follows_the_health(
    records: Records, raw_store: redis.Redis, due: int | None, stands: int | None
) -> None:
    """Whoever writes when a connection is refreshed next, puts it among the due work in the same step.

    A note that leaves that as it is leaves alone what somebody is working on.
    """  # F7
    connection = a_connection(health=Health(next_refresh_at=NOW))
    await records.create(connection, CREDENTIAL, an_event(connection))
    member = f"refresh:{connection.id}"
    assert raw_store.zscore(names.due(connection.id), member) == NOW
    raw_store.zadd(names.due(connection.id), {member: NOW + 77})  # claimed
    health = Health(next_refresh_at=due)
    assert await records.annotate(connection, updated_at=NOW)
    checked = replace(connection.health, last_checked_at=NOW)
    assert await records.annotate(connection, health=checked, updated_at=NOW)
    assert raw_store.zscore(names.due(connection.id), member) == NOW + 77
    assert await records.annotate(connection, health=health, updated_at=NOW)
    assert raw_store.zscore(names.due(connection.id), member) == stands
    raw_store.zadd(names.due(connection.id), {member: NOW})
    after = replace(connection, generation=2, health=health)
    assert (await records.replace(connection, after, NEXT, an_event(connection))).stored
    assert raw_store.zscore(names.due(connection.id), member) == stands
    made = a_connection(health=health)
    await records.create(made, CREDENTIAL, an_event(made))
    assert raw_store.zscore(names.due(made.id), f"refresh:{made.id}") == stands


async def test_the_first_of_several_intents_stays(leases: Leases, connection: Connection) -> None:
    """Who comes later adds nothing to when the outcome became unknown, and who sends nothing notes nothing."""  # F1
    await leases.drop(await leased(leases, connection, "silent"))
    first = await leased(leases, connection, "first")
    assert first.unknown_since is None
    assert await leases.intend(first, connection, started=NOW)
    await leases.drop(first)
    later = await leased(leases, connection, "later")
    assert await leases.intend(later, connection, started=NOW + 1)
    await leases.drop(later)
    assert (await leased(leases, connection, "third")).unknown_since == NOW


@pytest.mark.parametrize(
    ("noted", "given_up"),
    [(Status.REAUTH_REQUIRED, True), (Status.DISABLED, False), (Status.ACTIVE, False)],
)
async def test_a_late_commit_is_told_that_the_connection_was_given_up(
    records: Records,
    leases: Leases,
    connection: Connection,
    raw_store: redis.Redis,
    noted: Status,
    given_up: bool,
) -> None:
    """A stalled owner's token is stored although the next owner saw the old one refused; what to make of the status
    that somebody else, or a person, has set is not for the write to decide."""  # F6
    stalled = await leased(leases, connection, "stalled")
    why = Health(last_error=Fault("refresh_outcome_unknown", "gone", NOW))
    assert await records.annotate(connection, status=noted, health=why, updated_at=NOW)
    after = replace(connection, generation=2, health=Health(next_refresh_at=NOW + 5))
    written = await records.replace(connection, after, NEXT, an_event(connection), lease=stalled)
    assert (written.stored, written.given_up) == (True, given_up)
    found = await records.read(connection.id)
    assert found is not None
    assert (found.status, found.generation) == (noted, 2)
    # Cut off here, the connection says why it was given up, and nobody refreshes it by themselves.
    assert found.health == (why if given_up else after.health)
    assert raw_store.exists(names.due(connection.id)) == (not given_up)


async def test_health_is_noted_only_over_the_health_it_builds_on(records: Records, connection: Connection) -> None:
    """Of two who judge the same credential at once, the second doesn't wipe out what the first has found."""
    found = Health(consecutive_failures=1, last_error=Fault("revoked_at_provider", "gone", NOW))
    assert await records.annotate(connection, health=found, instead_of=connection.health, updated_at=NOW)
    assert not await records.annotate(connection, health=Health(), instead_of=connection.health, updated_at=NOW)
    kept = await records.read(connection.id)
    assert kept is not None
    assert kept.health == found


async def test_a_repeat_by_somebody_else_is_no_repeat(records: Records, leases: Leases, connection: Connection) -> None:
    """Only the owner that committed hears True again; another one's commit on the old generation is refused."""  # R3
    mine = await leased(leases, connection, "mine")
    assert await commit(records, connection, NEXT, mine)
    assert not await commit(records, connection, NEXT, Lease(connection.id, "yours", unknown_since=None))


async def test_a_token_commit_succeeds_although_memory_is_full(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """A rotated refresh token, and one just granted, reach a store that has no memory left for anything else."""  # R5
    lease = await leased(leases, connection, "mine")
    made = a_connection()
    raw_store.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            raw_store.set("anything", "else")
        await records.create(made, CREDENTIAL, an_event(made, "connection.created"))
        assert await commit(records, connection, NEXT, lease)
    finally:
        raw_store.config_set("maxmemory", 0)
    found = await records.read_with_credential(connection.id)
    assert found is not None
    assert found[1] == NEXT
    assert await records.read(made.id) is not None


async def test_a_refresh_leaves_what_others_write(
    records: Records, leases: Leases, connection: Connection, raw_store: redis.Redis
) -> None:
    """Renamed and switched off while the provider answered: the commit brings the credential and undoes neither."""
    lease = await leased(leases, connection, "refresher")
    raw_store.hset(names.record(connection.id), mapping={"l": '{"label":"mine","metadata":{}}', "st": "disabled"})
    assert await commit(records, connection, NEXT, lease)
    found = await records.read_with_credential(connection.id)
    assert found is not None
    assert (found[0].label, found[0].status, found[0].generation) == ("mine", Status.DISABLED, 2)
    assert found[1] == NEXT
