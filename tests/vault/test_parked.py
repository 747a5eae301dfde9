"""Credentials that came too late: sealed, bound to their grant, few, and gone with the connection."""

from dataclasses import replace
from typing import cast

import pytest
import redis

from broker.models.connection import Connection, Credential, Minted, Status
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.redis.store import Store
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event


@pytest.fixture
def parked(pipeline: Store, keyring: Keyring) -> Parked:
    """What is parked."""
    return Parked(pipeline, keyring)


@pytest.fixture
def records(pipeline: Store, keyring: Keyring) -> Records:
    """The records beside which it is parked."""
    return Records(pipeline, keyring)


@pytest.fixture
async def connection(records: Records) -> Connection:
    """A stored connection."""
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


async def park(parked: Parked, connection: Connection, *tokens: str) -> None:
    """Park tokens one after the other."""
    for token in tokens:
        assert await parked.park(connection, token) is Status.ACTIVE


async def test_the_newest_is_tried_first_and_few_are_kept(
    parked: Parked, connection: Connection, raw_store: redis.Redis
) -> None:
    """Four at most, for a month; the oldest go."""  # F6
    await park(parked, connection, "one", "two", "three", "four", "five")
    assert (await parked.candidates(connection)).refresh_tokens == (
        "five",
        "four",
        "three",
        "two",
    )
    assert 29 * 86_400_000 < raw_store.pttl(names.parked(connection.id)) <= 30 * 86_400_000


async def test_parking_can_be_repeated(parked: Parked, connection: Connection) -> None:
    """A lost answer costs nothing: the candidate may stand there twice, and is tried once."""  # R3
    for _ in range(2):
        assert await parked.park(connection, "late") is Status.ACTIVE
    assert (await parked.candidates(connection)).refresh_tokens == ("late",)


async def test_it_is_told_how_the_connection_stands(parked: Parked, records: Records, connection: Connection) -> None:
    """Who parks beside a connection that was given up meanwhile learns it, and can bring it back."""  # F1
    assert await records.annotate(connection, status=Status.REAUTH_REQUIRED, updated_at=NOW)
    assert await parked.park(connection, "late") is Status.REAUTH_REQUIRED


async def test_nothing_is_parked_beside_another_grant_or_an_ended_connection(
    parked: Parked, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """Authorized anew, ended or gone: the candidate is nobody's, and is not kept."""
    raw_store.hset(names.record(connection.id), "st", "revoked")
    assert await parked.park(connection, "late") is None
    raw_store.hset(names.record(connection.id), mapping={"st": "active", "gr": "grant_of_today"})
    assert await parked.park(connection, "late") is None
    raw_store.delete(names.record(connection.id))
    assert await parked.park(connection, "late") is None
    assert not raw_store.exists(names.parked(connection.id))


async def test_a_candidate_is_of_one_grant_and_one_destination(parked: Parked, connection: Connection) -> None:
    """After a new authorization it is no candidate any more, nor for whoever would send it elsewhere."""  # K2
    await park(parked, connection, "late")
    assert (await parked.candidates(replace(connection, grant_id="grant_of_today"))).refresh_tokens == ()
    moved = replace(connection, minted=Minted("https://evil.example", "app-1"))
    assert (await parked.candidates(moved)).refresh_tokens == ()
    assert (await parked.candidates(replace(connection, parameters={"subdomain": "evil"}))).refresh_tokens == ()
    assert (await parked.candidates(connection)).refresh_tokens == ("late",)


async def test_it_lies_sealed_and_in_its_place(
    parked: Parked, records: Records, connection: Connection, raw_store: redis.Redis
) -> None:
    """Not in the clear; moved to another connection or tenant, or damaged, it is passed over and hides no other."""
    # K1, K2, K3
    await park(parked, connection, "late-and-secret", "second")
    entries = cast("list[bytes]", raw_store.lrange(names.parked(connection.id), 0, -1))
    assert not any(b"late-and-secret" in entry for entry in entries)
    other = a_connection()
    await records.create(other, CREDENTIAL, an_event(other, "connection.created"))
    moved = entries[1].replace(connection.grant_id.encode(), other.grant_id.encode())
    raw_store.rpush(names.parked(other.id), moved)
    assert (await parked.candidates(other)).refresh_tokens == ()
    for damaged in (b"", b"{}\n", b"no json\nx", entries[0][:-1] + b"?", b'{"tenant":"acme"}\n', b"\xff\n\xff"):
        raw_store.lpush(names.parked(connection.id), damaged)
    assert (await parked.candidates(connection)).refresh_tokens == (
        "second",
        "late-and-secret",
    )


async def test_a_credential_that_works_clears_what_was_parked(
    parked: Parked, records: Records, connection: Connection
) -> None:
    """The commit of a later refresh proves that the connection needs no candidate; a note doesn't."""
    await park(parked, connection, "late")
    assert await records.annotate(connection, updated_at=NOW)
    assert (await parked.candidates(connection)).refresh_tokens == ("late",)
    after = replace(connection, generation=2)
    written = await records.replace(connection, after, Credential("a", "r"), an_event(connection))
    assert written.stored
    assert (await parked.candidates(after)).refresh_tokens == ()
