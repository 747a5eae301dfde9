"""Device sessions in the store, when an answer gets lost: the machine has what it would have had."""

from collections.abc import AsyncIterator

import pytest
import redis

from broker.models.device import DeviceSession
from broker.vault.device_sessions import Rotated, StoredDeviceSessions
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.records import Records
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event, outbox

CONNECTION = a_connection()
MACHINE = DeviceSession(
    id="ds_1",
    connection_id=CONNECTION.id,
    tenant=CONNECTION.tenant,
    client_id="cl_1",
    scopes=("connect",),
    created_at=NOW,
    expires_at=NOW + 60_000,
    last_used_at=NOW,
    token_digest="first",
)
LOGGED_IN = an_event(CONNECTION, "device.logged_in")


@pytest.fixture
async def sessions(proxy: FaultyProxy, keyring: Keyring, records: Records) -> AsyncIterator[StoredDeviceSessions]:
    """Those behind the proxy; the connection is there."""
    await records.create(CONNECTION, CREDENTIAL, an_event(CONNECTION, "connection.created"))
    pipeline = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    assert await pipeline.execute("PING")
    yield StoredDeviceSessions(pipeline)
    await pipeline.aclose()


async def refreshed(sessions: StoredDeviceSessions, presented: str, successor: str) -> Rotated:
    """What comes of a refresh token."""
    return await sessions.rotate(
        CONNECTION.id,
        MACHINE.id,
        now=NOW,
        client_id=MACHINE.client_id,
        presented=presented,
        successor=successor,
        salt=f"salt of {successor}",
        answered_for=60_000,
        expires_at=NOW + 60_000,
        ended=an_event(CONNECTION, "device.reused"),
    )


async def test_a_login_whose_answer_was_lost_is_one_login(
    sessions: StoredDeviceSessions, proxy: FaultyProxy, raw_store: redis.Redis
) -> None:
    """The device code is spent for it; there is one device session, and one event."""  # R3
    proxy.drop_next_answer()
    assert await sessions.start(MACHINE, LOGGED_IN) == "ok"
    assert await sessions.of(CONNECTION.id) == [MACHINE]
    assert outbox(raw_store, CONNECTION.id).count(LOGGED_IN) == 1


async def test_a_refresh_whose_answer_was_lost_gives_the_same_token(
    sessions: StoredDeviceSessions, proxy: FaultyProxy
) -> None:
    """It is not taken for a copy that somebody else holds, and the successor works."""  # R3
    await sessions.start(MACHINE, LOGGED_IN)
    proxy.drop_next_answer()
    renewed = await refreshed(sessions, "first", "second")
    assert (renewed.outcome, renewed.salt) == ("again", "salt of second")
    assert renewed.session is not None
    assert renewed.session.token_digest == "second"
    assert (await refreshed(sessions, "second", "third")).outcome == "rotated"
