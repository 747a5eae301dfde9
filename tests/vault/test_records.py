"""Connections at rest: what was stored is read back, and a record that is nobody's is never anybody's."""

import asyncio
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.errors import StoreUnavailable
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Ending, Fault, Health, Status
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.connecting import connector
from broker.vault.redis.pipeline import Pipeline
from tests.journey import everything_in
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event, outbox

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | texts
moments = st.none() | st.integers(1, 2**41)


async def created(records: Records, connection: Connection, credential: Credential = CREDENTIAL) -> Connection:
    """Store ``connection``."""
    await records.create(connection, credential, an_event(connection, "connection.created"))
    return connection


async def test_a_connection_is_read_as_it_was_created(records: Records) -> None:
    """Every field of connection and credential comes back; the connection alone without opening anything."""
    connection = await created(records, a_connection(), Credential("access", "refresh", "previous"))
    assert await records.read(connection.id) == connection
    assert await records.read_with_credential(connection.id) == (
        connection,
        Credential("access", "refresh", "previous"),
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    label=st.none() | texts,
    metadata=st.dictionaries(texts, scalars, max_size=3),
    parameters=st.dictionaries(texts, texts, max_size=3),
    provider_data=st.dictionaries(texts, scalars | st.lists(scalars, max_size=2), max_size=3),
    account=st.none() | st.builds(Account, texts, st.none() | texts),
    access_token_expires_at=moments,
    refresh_token_expires_at=moments,
    health=st.builds(Health, moments, moments, st.integers(0, 9)),
    credential=st.builds(Credential, texts, st.none() | texts, st.none() | texts),
)
async def test_any_content_survives_the_store(
    records: Records, credential: Credential, health: Health, **content: object
) -> None:
    """Odd texts, empty texts and missing values are told apart and come back the same."""
    connection = await created(records, a_connection(health=health, **content), credential)
    assert await records.read_with_credential(connection.id) == (connection, credential)


async def test_no_secret_lies_in_the_store_in_the_clear(records: Records, raw_store: redis.Redis) -> None:
    """Of the credential nothing is readable in any key of the store."""  # K1
    secrets = Credential("canary-access", "canary-refresh", "canary-previous")
    await created(records, a_connection(), secrets)
    everything = everything_in(raw_store)
    assert b"usr_1" in everything
    assert b"canary" not in everything


@pytest.mark.parametrize("missing", ["t", "p", "st", "g", "gr", "x", "rx", "sc", "d", "l", "h"])
async def test_a_record_that_lacks_a_field_is_nobodys(records: Records, raw_store: redis.Redis, missing: str) -> None:
    """Without a tenant above all, but also without anything else, a record is as good as absent."""  # S6
    connection = await created(records, a_connection())
    raw_store.hdel(names.record(connection.id), missing)
    assert await records.read(connection.id) is None
    assert await records.read_with_credential(connection.id) is None


async def test_a_record_with_an_empty_tenant_is_nobodys(records: Records, raw_store: redis.Redis) -> None:
    """An empty tenant is none, not the default one."""  # S6
    connection = await created(records, a_connection())
    raw_store.hset(names.record(connection.id), "t", "")
    assert await records.read(connection.id) is None


async def test_an_unknown_connection_is_none(records: Records) -> None:
    """Neither an error nor an empty connection."""
    assert await records.read("con_unknown") is None
    assert await records.read_with_credential("con_unknown") is None


async def test_creating_twice_changes_nothing(records: Records, raw_store: redis.Redis) -> None:
    """The second call of a creation whose answer was lost neither overwrites nor writes a second event."""  # R3
    connection = await created(records, a_connection())
    before = raw_store.hgetall(names.record(connection.id))
    await created(records, replace(connection, label="changed"), Credential("other"))
    assert raw_store.hgetall(names.record(connection.id)) == before
    assert raw_store.xlen(names.outbox(connection.id)) == 1
    assert raw_store.zcard(names.tenant_index("acme")) == 1


async def test_notes_leave_the_credential_alone(records: Records) -> None:
    """Status and health change; tokens, generation and everything else stay."""
    connection = await created(records, a_connection())
    health = Health(consecutive_failures=2, last_error=Fault("provider_error", "it said no", NOW))
    assert await records.annotate(connection, status=Status.REAUTH_REQUIRED, health=health, updated_at=NOW + 5)
    noted = replace(connection, status=Status.REAUTH_REQUIRED, health=health, updated_at=NOW + 5)
    assert await records.read_with_credential(connection.id) == (noted, CREDENTIAL)


async def test_an_ending_is_remembered(records: Records, raw_store: redis.Redis) -> None:
    """What became of the credential is read back, and its event waits with it; before there is nothing."""
    connection = await created(records, a_connection())
    assert await records.ending(connection.id) is None
    ending = Ending("failed", 400, "unsupported_token_type")
    before = raw_store.xlen(names.outbox(connection.id))
    await records.note_ending(connection, ending, None)
    assert await records.ending(connection.id) == ending
    assert raw_store.xlen(names.outbox(connection.id)) == before
    await records.note_ending(connection, ending, an_event(connection, "revocation.settled"))
    assert raw_store.xlen(names.outbox(connection.id)) == before + 1
    assert await records.ending("con_unknown") is None


async def test_a_crash_between_record_and_index_is_seen_in_the_outbox(
    proxy: FaultyProxy, raw_store: redis.Redis, keyring: Keyring
) -> None:
    """Record and event are one step: whenever the record is there, so is the event that lists it again."""
    pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=60))
    await pipeline.execute("PING")
    connection = a_connection()
    proxy.drop_next_answer()
    with pytest.raises(StoreUnavailable):
        await created(Records(pipeline, keyring), connection)
    await asyncio.sleep(0)
    assert [event.type for event in outbox(raw_store, connection.id)] == ["connection.created"]
    assert raw_store.exists(names.record(connection.id)) == 1
    assert raw_store.zcard(names.tenant_index("acme")) == 0
    await pipeline.aclose()
