"""Tests of :mod:`broker.vault.typed`: what a person typed, sealed for its session and gone in time."""

from dataclasses import replace
from typing import cast

import pytest
import redis

from broker.errors import SealBroken
from broker.models.ids import new_id
from broker.models.session import Completion, ConnectSession
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.redis.store import Store
from broker.vault.typed import StoredTyped, Typed
from tests.journey import everything_in
from tests.vault.samples import NOW

TYPED = Typed({"api_key": "canary-of-a-key", "note": "zwölf\r\nZeilen"}, {"region": "north"})


def a_session() -> ConnectSession:
    return ConnectSession(
        id=new_id("cs"), tenant="acme", client_id="cl_1", client_name="App", provider="practice", subject="ann",
        completion=Completion.APP, scopes=(), created_at=NOW, expires_at=NOW + 1,
    )  # fmt: skip


@pytest.fixture
def stored(pipeline: Store, keyring: Keyring) -> StoredTyped:
    return StoredTyped(pipeline, keyring)


async def test_it_reads_as_it_was_typed_and_is_gone_in_time(stored: StoredTyped, raw_store: redis.Redis) -> None:
    """To the character; sealed; with a time of its own in the store; and erased at once where that is asked."""  # K1
    session = a_session()
    assert await stored.read(session) is None
    await stored.keep(session, TYPED, milliseconds=300_000)
    assert await stored.read(session) == TYPED
    assert 0 < raw_store.pttl(names.typed(session.id)) <= 300_000
    assert b"canary" not in everything_in(raw_store)
    assert "canary" not in repr(TYPED)
    await stored.erase(session)
    assert await stored.read(session) is None
    assert raw_store.keys(f"*{session.id}*") == []


@pytest.mark.parametrize("other", [{"id": new_id("cs")}, {"tenant": "another"}])
async def test_it_opens_for_its_own_session_only(
    stored: StoredTyped, raw_store: redis.Redis, other: dict[str, str]
) -> None:
    """Moved to another session, or to one that says to be another tenant's, it does not open."""  # K2
    session = a_session()
    await stored.keep(session, TYPED, milliseconds=300_000)
    moved = replace(session, **other)  # type: ignore[arg-type]
    raw_store.rename(names.typed(session.id), names.typed(moved.id))
    with pytest.raises(SealBroken):
        await stored.read(moved)


async def test_a_flipped_byte_is_noticed(stored: StoredTyped, raw_store: redis.Redis) -> None:
    """It is a broken seal, as everywhere."""  # K3
    session = a_session()
    await stored.keep(session, TYPED, milliseconds=300_000)
    sealed = bytearray(cast("bytes", raw_store.get(names.typed(session.id))))
    sealed[-1] ^= 1
    raw_store.set(names.typed(session.id), bytes(sealed))
    with pytest.raises(SealBroken):
        await stored.read(session)
