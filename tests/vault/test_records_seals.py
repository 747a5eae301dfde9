"""Sealed fields of records: moved or damaged they don't open, and what doesn't open is left as it is."""

import asyncio
import json
from dataclasses import replace

import pytest
import redis

from broker.errors import SealBroken
from broker.models.connection import Connection, Credential
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.release import Claim, Release, Releases
from tests.vault.samples import EVERYTHING, NOW, PRACTICE, a_connection, an_event

HERE = Credential("access-here", "refresh-here")
THERE = Credential("access-there", "refresh-there")


@pytest.fixture
async def here(records: Records) -> Connection:
    """The connection whose fields are attacked."""
    connection = a_connection()
    await records.create(connection, HERE, an_event(connection))
    return connection


def sealed(raw_store: redis.Redis, connection: Connection, field: str) -> bytes:
    """The stored envelope."""
    envelope = raw_store.hget(names.record(connection.id), field)
    assert isinstance(envelope, bytes)
    return envelope


async def both_ways(pipeline: Store, keyring: Keyring, connection: Connection) -> tuple[object, object]:
    """Read the credential and release the token; answers the two outcomes."""
    release = Releases(pipeline, keyring).release(connection.id, Claim(EVERYTHING, PRACTICE), an_event(connection), NOW)
    read = Records(pipeline, keyring).read_with_credential(connection.id)
    return await asyncio.gather(read, release, return_exceptions=True)


async def test_untouched_it_opens_both_ways(pipeline: Store, keyring: Keyring, here: Connection) -> None:
    """The control of the tests below."""
    read, release = await both_ways(pipeline, keyring, here)
    assert read == (here, HERE)
    assert isinstance(release, Release)
    assert release.access_token == "access-here"
    assert "access-here" not in repr(release)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "acme"},
        {"tenant": "other"},
        {"grant_id": "grant_other"},
        {"generation": 2},
    ],
    ids=["record", "tenant", "grant", "generation"],
)
async def test_a_ciphertext_of_another_record_does_not_open(
    records: Records,
    pipeline: Store,
    keyring: Keyring,
    raw_store: redis.Redis,
    here: Connection,
    change: dict[str, object],
) -> None:
    """Not from another connection, be it of the same tenant or not, nor from another grant or generation."""  # K2
    there = replace(here, **change) if "tenant" not in change else a_connection(**change)  # type: ignore[arg-type]
    if there.id == here.id:
        raw_store.delete(names.record(here.id))
    await records.create(there, THERE, an_event(there))
    moved = {field: sealed(raw_store, there, field) for field in ("a", "s")}
    if there.id == here.id:
        raw_store.delete(names.record(here.id))
        await records.create(here, HERE, an_event(here))
    for field, envelope in moved.items():
        raw_store.hset(names.record(here.id), field, envelope)
    read, release = await both_ways(pipeline, keyring, here)
    assert isinstance(read, SealBroken)
    assert isinstance(release, SealBroken)


async def test_the_record_can_not_claim_another_place(
    pipeline: Store, keyring: Keyring, raw_store: redis.Redis, here: Connection
) -> None:
    """Turning a record's own tenant, grant or generation does not fit the seal either."""  # K2
    for field, value in (("t", "other"), ("gr", "grant_other"), ("g", "7")):
        before = raw_store.hget(names.record(here.id), field)
        raw_store.hset(names.record(here.id), field, value)
        read, release = await both_ways(pipeline, keyring, here)
        assert isinstance(read, SealBroken)
        assert not isinstance(release, Release)
        assert before is not None
        raw_store.hset(names.record(here.id), field, before)


async def test_the_record_can_not_name_another_destination(
    pipeline: Store, keyring: Keyring, raw_store: redis.Redis, here: Connection
) -> None:
    """Who can write to the store, but has no key, sends no refresh token elsewhere and frees none."""  # K2
    key = names.record(here.id)
    document = json.loads(raw_store.hget(key, "d") or b"")
    for changed in (
        {"p": {"realm": "evil"}},
        {"m": {"i": "https://evil.example", "c": "app-1"}},
    ):
        raw_store.hset(key, "d", json.dumps({**document, **changed}))
        read, _ = await both_ways(pipeline, keyring, here)
        assert isinstance(read, SealBroken)
    raw_store.hset(key, mapping={"d": json.dumps(document), "p": "another"})
    read, release = await both_ways(pipeline, keyring, here)
    assert isinstance(read, SealBroken)
    assert not isinstance(release, Release)


@pytest.mark.parametrize("field", ["d", "st", "g", "x", "l", "h", "u"])
async def test_a_damaged_record_is_a_fault_of_its_own(
    records: Records, raw_store: redis.Redis, here: Connection, field: str
) -> None:
    """It answers 503 and an alert, is kept as it is, and hides no other."""  # K3
    raw_store.hset(names.record(here.id), field, "{")
    with pytest.raises(SealBroken, match=here.id):
        await records.read(here.id)
    assert raw_store.hget(names.record(here.id), field) == b"{"


async def test_two_fields_of_one_record_can_not_be_swapped(
    pipeline: Store, keyring: Keyring, raw_store: redis.Redis, here: Connection
) -> None:
    """The envelope of the secrets is none of the access token: no refresh token leaves as an access token."""  # K2
    access, rest = sealed(raw_store, here, "a"), sealed(raw_store, here, "s")
    raw_store.hset(names.record(here.id), mapping={"a": rest, "s": access})
    assert all(isinstance(outcome, SealBroken) for outcome in await both_ways(pipeline, keyring, here))


async def test_damage_is_told_and_the_record_kept(
    pipeline: Store, keyring: Keyring, raw_store: redis.Redis, here: Connection
) -> None:
    """Whichever byte of the token is flipped: SealBroken, and the record is as it was."""  # K3
    whole = sealed(raw_store, here, "a")
    await both_ways(pipeline, keyring, here)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        raw_store.hset(names.record(here.id), "a", bytes(damaged))
        before = raw_store.hgetall(names.record(here.id))
        outcomes = await both_ways(pipeline, keyring, here)
        assert all(isinstance(outcome, SealBroken) for outcome in outcomes)
        assert raw_store.hgetall(names.record(here.id)) == before


async def test_a_key_that_comes_back_opens_it_again(pipeline: Store, keyring: Keyring, here: Connection) -> None:
    """A ring without the key can't open the record and harms nothing; the right ring reads it afterwards."""  # K3
    stranger = Keyring([("k9", bytes(range(9, 41)))])
    assert all(isinstance(outcome, SealBroken) for outcome in await both_ways(pipeline, stranger, here))
    _, release = await both_ways(pipeline, keyring, here)
    assert isinstance(release, Release)
    assert release.access_token == "access-here"
