"""Documents that a newer replica has written are read: what this version does not know is passed over."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from broker.models.connection import Ending, Fault, Health
from broker.models.session import Completion, ConnectSession
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.sessions import Sessions
from broker.vault.stored import made_from
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

NEW = {"added_in_a_later_version": {"a": 1}}


def add_unknown(raw_store: redis.Redis, key: str, field: str, *inner: str) -> None:
    """Write a field that nobody knows into a JSON field of a hash, and into objects within it."""
    stored: Any = raw_store.hget(key, field)
    document = json.loads(stored)
    for part in (document, *(document[name] for name in inner)):
        part.update(NEW)
    raw_store.hset(key, field, json.dumps(document))


def test_what_is_given_goes_before_what_is_stored() -> None:
    """Known fields are taken, unknown ones passed over, and a missing one is missed."""

    @dataclass(frozen=True)
    class Pair:
        one: int
        two: int = 2

    assert made_from(Pair, {"one": 1, **NEW}) == Pair(1)
    assert made_from(Pair, {"one": 1, "two": 3}, one=4) == Pair(4, 3)
    with pytest.raises(TypeError):
        made_from(Pair, NEW)


async def test_a_connection_of_a_newer_replica_is_read(records: Records, raw_store: redis.Redis) -> None:
    """Account, app, health, its last fault, label and ending may each have grown."""
    failed = Health(consecutive_failures=1, last_error=Fault("provider_unavailable", "down", NOW))
    connection = a_connection(health=failed)
    await records.create(connection, CREDENTIAL, an_event(connection))
    await records.note_ending(connection, Ending("failed", 404, None), None)
    key = names.record(connection.id)
    add_unknown(raw_store, key, "d", "m", "a")
    add_unknown(raw_store, key, "h", "e")
    add_unknown(raw_store, key, "l")
    add_unknown(raw_store, key, "e")
    assert await records.read(connection.id) == connection
    assert await records.ending(connection.id) == Ending("failed", 404, None)


async def test_a_session_of_a_newer_replica_is_read(pipeline: Store, keyring: Keyring, raw_store: redis.Redis) -> None:
    """A person who began at one replica arrives at another."""
    session = ConnectSession("cs_1", "acme", "cl_1", "App", "practice", "ann", Completion.APP, ("a",), NOW, NOW * 2)
    sessions = Sessions(pipeline, keyring)
    await sessions.create(session)
    add_unknown(raw_store, names.session("cs_1"), "fixed")
    assert await sessions.read("cs_1") == session
