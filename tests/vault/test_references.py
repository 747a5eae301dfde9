"""References at rest: issued for a living connection, readable until their end, revoked by those they concern."""

from dataclasses import replace

import pytest
import redis

from broker.models.connection import Connection, Status
from broker.vault import names
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.references import StoredReferences
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

LATER = NOW + 10**12


@pytest.fixture
async def connection(records: Records) -> Connection:
    """An active connection."""
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection))
    return connection


@pytest.fixture
def references(pipeline: Store) -> StoredReferences:
    """The references under test."""
    return StoredReferences(pipeline)


async def issue(references: StoredReferences, connection: Connection, *, ends_at: int = LATER) -> str:
    """Issue a reference, by ``cl_app`` for ``cl_worker``."""
    event = an_event(connection, "reference.issued")
    return await references.issue(connection.id, "digest", audience="cl_worker", uses=2, ends_at=ends_at, event=event)


async def test_an_issued_reference_is_read_and_recorded(
    references: StoredReferences, connection: Connection, raw_store: redis.Redis
) -> None:
    """Audience, issuer, uses and end come back, and the event was written in the same step."""
    assert await issue(references, connection) == "ok"
    stored = await references.read(connection.id, "digest")
    assert stored == {"audience": "cl_worker", "issuer": "cl_app", "left": "2", "ends_at": str(LATER)}
    assert raw_store.xlen(names.outbox(connection.id)) == 2
    assert await references.read(connection.id, "other") is None


async def test_a_reference_disappears_at_its_end(
    references: StoredReferences, connection: Connection, raw_store: redis.Redis
) -> None:
    """The key has the reference's own end, so the store forgets it without a sweep."""
    await issue(references, connection)
    assert raw_store.pexpiretime(names.reference(connection.id, "digest")) == LATER
    await issue(references, connection, ends_at=NOW)  # long ago
    assert await references.read(connection.id, "digest") is None


@pytest.mark.parametrize("tenant", [None, ""])
async def test_a_reference_to_what_is_nobodys_is_not_shown(
    references: StoredReferences, connection: Connection, raw_store: redis.Redis, tenant: str | None
) -> None:
    """A record without a tenant releases nothing, so nothing is said of a way to it."""  # S6
    await issue(references, connection)
    if tenant is None:
        raw_store.hdel(names.record(connection.id), "t")
    else:
        raw_store.hset(names.record(connection.id), "t", tenant)
    assert await references.read(connection.id, "digest") is None


@pytest.mark.parametrize(
    "obstacle", ["unknown", "foreign tenant", Status.REAUTH_REQUIRED, Status.DISABLED, Status.REVOKED]
)
async def test_there_are_no_references_to_what_is_not_active_or_foreign(
    references: StoredReferences,
    records: Records,
    connection: Connection,
    raw_store: redis.Redis,
    obstacle: str,
) -> None:
    """The obstacle is answered; neither reference nor event is written."""  # S5
    asked = connection
    if obstacle == "unknown":
        asked = a_connection()
    elif obstacle == "foreign tenant":
        asked = replace(connection, tenant="other")
    else:
        await records.annotate(connection, status=Status(obstacle), updated_at=NOW)
    outcome = await issue(references, asked)
    assert outcome == (obstacle if obstacle in list(Status) else "absent")
    assert not raw_store.exists(names.reference(asked.id, "digest"))
    assert raw_store.xlen(names.outbox(connection.id)) == 1


@pytest.mark.parametrize(("who", "may"), [("cl_app", True), ("cl_worker", True), ("cl_stranger", False), ("", False)])
async def test_issuer_and_audience_may_revoke(
    references: StoredReferences, connection: Connection, raw_store: redis.Redis, who: str, may: bool
) -> None:
    """Anybody else changes nothing, and leaves no event."""  # S7
    await issue(references, connection)
    event = replace(an_event(connection, "reference.revoked"), client_id=who or None)
    assert await references.revoke(connection.id, "digest", event) is may
    assert (await references.read(connection.id, "digest") is None) is may
    assert raw_store.xlen(names.outbox(connection.id)) == 2 + may
    assert not await references.revoke(connection.id, "unknown", event)
