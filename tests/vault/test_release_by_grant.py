"""A release for who judged the connection by its grant: of that one, or nothing."""

import redis

from broker.models.connection import Status
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.release import Claim, Kept, Release, Releases
from tests.journey import snapshot
from tests.vault.samples import CREDENTIAL, EVERYTHING, NOW, PRACTICE, a_connection, an_event, outbox


async def test_only_the_grant_that_was_judged_is_released(
    pipeline: Store, keyring: Keyring, raw_store: redis.Redis
) -> None:
    """Under another one nothing is told, written or due, whatever else would be said of the connection."""
    connection = a_connection()
    await Records(pipeline, keyring).create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    releases = Releases(pipeline, keyring)

    async def release(grant_id: str | None, *, outlive: int = NOW) -> Release | Kept:
        return await releases.release(
            connection.id, Claim(EVERYTHING, PRACTICE, whole=True, grant_id=grant_id), an_event(connection), outlive
        )

    for grant_id in (connection.grant_id, None):
        released = await release(grant_id)
        assert isinstance(released, Release)
        assert released.access_token == CREDENTIAL.access_token
    before = snapshot(raw_store)
    assert await release("grant_other") == Kept("moved")
    assert await release("grant_other", outlive=NOW + 10**12) == Kept("moved")
    assert snapshot(raw_store) == before
    assert [event.type for event in outbox(raw_store, connection.id)].count("token.released") == 2
    await Records(pipeline, keyring).annotate(connection, status=Status.DISABLED, updated_at=NOW)
    assert await release("grant_other") == Kept("moved")
    assert await release(connection.grant_id) == Kept("status", status=Status.DISABLED)
