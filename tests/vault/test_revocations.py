"""Ending a connection: its credential is gone in one step, and what has to be given back is kept sealed."""

import json
from dataclasses import replace

import pytest
import redis

from broker.errors import SealBroken
from broker.models.connection import Connection, Status
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.revocations import KEPT, Job, Revocations
from tests.journey import snapshot
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

STAYS = 30 * 86_400_000


@pytest.fixture
def revocations(pipeline: Store, keyring: Keyring) -> Revocations:
    """The queue under test."""
    return Revocations(pipeline, keyring)


@pytest.fixture
async def connection(records: Records) -> Connection:
    """A connection to end."""
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


def job_of(connection: Connection) -> Job:
    """What has to be given back."""
    return Job(connection.id, "practice", {"subdomain": "north"}, "canary-access", "canary-refresh")


def stored_job(raw_store: redis.Redis, connection: Connection) -> bytes:
    """The job as it lies in the store."""
    stored = raw_store.get(names.revocation(connection.id))
    assert isinstance(stored, bytes)
    return stored


async def end(
    revocations: Revocations, connection: Connection, job: Job | None, *, at: int = NOW, parked: int = 0
) -> bool:
    """Disconnect."""
    event = an_event(connection, "connection.revoked", at=at)
    return await revocations.disconnect(connection, job, event, stays=STAYS, parked=parked)


async def test_a_disconnected_connection_has_no_credential_left(
    revocations: Revocations, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """Tokens and intent leave the record, the generation moves on so that no writer in flight fits any more."""
    raw_store.hset(names.record(connection.id), "i", "{}")
    raw_store.lpush(names.parked(connection.id), "sealed")
    # Parked after the job was made: nobody would revoke it.
    assert not await end(revocations, connection, job_of(connection))
    assert await end(revocations, connection, job_of(connection), parked=1)
    stored = raw_store.hgetall(names.record(connection.id))
    assert not {b"a", b"s", b"i"} & set(stored)
    assert not raw_store.exists(names.parked(connection.id))
    read = await records.read_with_credential(connection.id)
    assert read is not None
    assert (read[0].status, read[0].generation, read[1]) == (Status.REVOKED, 2, None)
    # A day longer than it is shown: who takes it off the lists reads in it which ones.
    assert STAYS < raw_store.pttl(names.record(connection.id)) <= STAYS + 86_400_000
    late = replace(connection, generation=2)
    assert not (await records.replace(connection, late, CREDENTIAL, an_event(connection))).stored


async def test_the_job_is_sealed_due_and_bounded(
    revocations: Revocations, connection: Connection, raw_store: redis.Redis
) -> None:
    """It is read back whole, lies encrypted for at most a day, and falls due half a minute later."""  # K1
    job = job_of(connection)
    assert await end(revocations, connection, job)
    assert await revocations.read(connection.id) == job
    assert b"canary" not in stored_job(raw_store, connection)
    assert "canary" not in repr(job)
    assert 0 < raw_store.pttl(names.revocation(connection.id)) <= KEPT
    assert raw_store.zrange(names.due(connection.id), 0, -1, withscores=True) == [
        (f"revoke:{connection.id}".encode(), float(NOW + 30_000)),
        (f"unlist:{connection.id}".encode(), float(NOW + STAYS)),
    ]
    await revocations.drop(connection.id)
    assert await revocations.read(connection.id) is None
    assert raw_store.zrange(names.due(connection.id), 0, -1) == [f"unlist:{connection.id}".encode()]


async def test_a_second_disconnect_changes_nothing(
    revocations: Revocations, connection: Connection, raw_store: redis.Redis
) -> None:
    """Nor does one that read an older generation: no second job, no second event."""  # R3
    assert await end(revocations, connection, job_of(connection))
    before = snapshot(raw_store)
    assert not await end(revocations, connection, job_of(connection))
    assert snapshot(raw_store) == before


async def test_where_nothing_is_to_be_revoked_nothing_is_queued(
    revocations: Revocations, connection: Connection, raw_store: redis.Redis
) -> None:
    """The record ends all the same, and is due to be unlisted."""
    assert await end(revocations, connection, None)
    assert await revocations.read(connection.id) is None
    assert not raw_store.exists(names.revocation(connection.id))
    assert raw_store.zrange(names.due(connection.id), 0, -1) == [f"unlist:{connection.id}".encode()]


@pytest.mark.parametrize("part", ["tenant", "grant", "generation"])
async def test_a_job_whose_header_was_turned_does_not_open(
    revocations: Revocations, connection: Connection, raw_store: redis.Redis, part: str
) -> None:
    """The header stands in the clear; the seal holds for the tenant, grant and generation it was made for."""  # K2
    await end(revocations, connection, job_of(connection))
    key, stored = names.revocation(connection.id), stored_job(raw_store, connection)
    head, _, sealed = stored.partition(b"\n")
    header = json.loads(head) | {part: 9 if part == "generation" else "other"}
    raw_store.set(key, json.dumps(header).encode() + b"\n" + sealed)
    with pytest.raises(SealBroken):
        await revocations.read(connection.id)


async def test_a_job_moved_to_another_connection_does_not_open(
    revocations: Revocations, connection: Connection, raw_store: redis.Redis
) -> None:
    """Nor is a connection's revocation the secret of its own record."""  # K2
    await end(revocations, connection, job_of(connection))
    other = a_connection()
    raw_store.set(names.revocation(other.id), stored_job(raw_store, connection))
    with pytest.raises(SealBroken):
        await revocations.read(other.id)
