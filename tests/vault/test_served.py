"""Releases of a whole credential, for whoever puts it on a request: what is read, and what does not open."""

import json
from dataclasses import replace
from typing import Any

import pytest
import redis

from broker.errors import SealBroken
from broker.models.connection import Credential, Served
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.release import Claim, Release, Releases
from tests.vault.samples import CREDENTIAL, EVERYTHING, NOW, PRACTICE, a_connection, an_event, outbox


@pytest.fixture
async def connection(pipeline: Store, keyring: Keyring) -> Any:
    """A stored connection."""
    connection = a_connection()
    await Records(pipeline, keyring).create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    return connection


async def release(pipeline: Store, keyring: Keyring, connection: Any) -> tuple[Served, Credential]:
    """The whole credential."""
    released = await Releases(pipeline, keyring).release(
        connection.id, Claim(EVERYTHING, PRACTICE, whole=True), an_event(connection), NOW
    )
    assert isinstance(released, Release)
    assert released.whole is not None
    return released.whole


@pytest.mark.parametrize("credential_type", ["oauth2", "client_credentials", "api_key"])
async def test_it_says_whose_the_credential_is_and_where_it_may_go(
    pipeline: Store, keyring: Keyring, credential_type: str
) -> None:
    """All of the credential; and of the connection what a request is judged and signed by."""
    connection = replace(a_connection(), credential_type=credential_type)
    whole = replace(CREDENTIAL, previous_refresh_token="refresh-0", fields={"user": "ann"})
    await Records(pipeline, keyring).create(connection, whole, an_event(connection, "connection.created"))
    served, credential = await release(pipeline, keyring, connection)
    assert credential == whole
    for name in Served.__dataclass_fields__:
        assert getattr(served, name) == getattr(connection, name), name
    assert served.issued is connection.issued


async def test_what_else_the_record_says_is_not_read(
    pipeline: Store, keyring: Keyring, connection: Any, raw_store: redis.Redis
) -> None:
    """Damaged health, notes or consents are no reason to serve nobody."""
    raw_store.hset(names.record(connection.id), mapping=dict.fromkeys(("l", "h", "c", "wa"), "damaged"))
    assert (await release(pipeline, keyring, connection))[1] == CREDENTIAL


@pytest.mark.parametrize("parameters", [{}, {"subdomain": "elsewhere"}])
async def test_secrets_go_nowhere_else_than_they_were_sealed_for(
    pipeline: Store, keyring: Keyring, connection: Any, raw_store: redis.Redis, parameters: dict[str, str]
) -> None:
    """Who can write to the store, but has no key, can't have them sent to another place; the record tells."""  # K3
    record = names.record(connection.id)
    document = json.loads(raw_store.hget(record, "d") or b"")
    raw_store.hset(record, "d", json.dumps({**document, "p": parameters}))
    with pytest.raises(SealBroken):
        await release(pipeline, keyring, connection)
    assert [event.type for event in outbox(raw_store, connection.id)][-1] == "token.release_failed"


@pytest.mark.parametrize("field", ["d", "s"])
@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"null", b"damaged", None])
async def test_a_damaged_record_serves_nobody(
    pipeline: Store, keyring: Keyring, connection: Any, raw_store: redis.Redis, field: str, value: bytes | None
) -> None:
    """A fault of its own, whatever stands there."""  # K3
    record = names.record(connection.id)
    if value is None:
        raw_store.hdel(record, field)
    else:
        raw_store.hset(record, field, value)
    with pytest.raises(SealBroken):
        await release(pipeline, keyring, connection)


async def test_the_secrets_of_another_connection_do_not_open(
    pipeline: Store, keyring: Keyring, connection: Any, raw_store: redis.Redis
) -> None:
    """Copied here as they are, they say where they belong."""  # K3
    other = a_connection()
    await Records(pipeline, keyring).create(other, CREDENTIAL, an_event(other, "connection.created"))
    raw_store.hset(names.record(connection.id), "s", raw_store.hget(names.record(other.id), "s") or b"")
    with pytest.raises(SealBroken):
        await release(pipeline, keyring, connection)
