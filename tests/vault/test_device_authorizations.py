"""Device authorizations at rest: polls judged in one step, questions to a provider claimed, secrets sealed."""

from dataclasses import replace
from typing import Any

import pytest

from broker.app.heart import Heart
from broker.errors import StoreUnavailable
from broker.models.device import DeviceAuthorization, DeviceMode, DeviceStatus
from broker.models.ids import digest, new_id
from broker.vault.device_authorizations import StoredDeviceAuthorizations
from broker.vault.scripts import DEVICE_POLL, Script
from tests.world import FakeClock


@pytest.fixture
def stored(heart: Heart) -> StoredDeviceAuthorizations:
    """The room."""
    return StoredDeviceAuthorizations(heart.store, heart.keyring)


@pytest.fixture
def attempt(clock: FakeClock) -> DeviceAuthorization:
    """An attempt by a provider's own device grant."""
    return DeviceAuthorization(
        id=new_id("da"),
        tenant="default",
        client_id=new_id("cl"),
        client_name="laptops",
        provider="practice",
        mode=DeviceMode.NATIVE,
        scopes=("profile",),
        broker_scopes=("tokens:read",),
        created_at=clock.now,
        expires_at=clock.now + 900_000,
        device_code_digest=digest("dc"),
        connection_id=new_id("con"),
        device_name="büro ✓",
        parameters={"realm": "x"},
    )


async def poll(stored: StoredDeviceAuthorizations, attempt: DeviceAuthorization, clock: FakeClock) -> str:
    """How the machine's question is judged now."""
    found = await stored.poll(
        attempt.id, now=clock.now, client_id=attempt.client_id, device_code_digest=attempt.device_code_digest
    )
    return found.verdict


async def test_what_is_stored_is_read_again(stored: StoredDeviceAuthorizations, attempt: DeviceAuthorization) -> None:
    """Every field, of whatever alphabet."""
    await stored.create(attempt)
    assert await stored.read(attempt.id) == attempt


async def test_a_question_to_the_provider_is_one_processs(
    stored: StoredDeviceAuthorizations, attempt: DeviceAuthorization, clock: FakeClock
) -> None:
    """While one asks, however long the provider takes, no other does; nobody waits for a dead one for ever."""  # D2
    await stored.create(attempt, provider_code="theirs", ask_every=5, ask_takes=61)
    clock.advance(seconds=5)
    assert await poll(stored, attempt, clock) == "ask"
    for _ in range(10):
        clock.advance(seconds=6)
        assert await poll(stored, attempt, clock) == "pending"
    clock.advance(seconds=6)
    assert await poll(stored, attempt, clock) == "ask"


async def test_a_poll_whose_answer_was_lost_is_the_same_poll(
    stored: StoredDeviceAuthorizations,
    attempt: DeviceAuthorization,
    clock: FakeClock,
    heart: Heart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is neither slowed down nor too late for its own approval; any other poll is."""  # R3, D3
    await stored.create(attempt)
    run, lost = heart.store.run, 0

    async def losing(script: Script, *arguments: Any) -> Any:
        nonlocal lost
        reply = await run(script, *arguments)
        if script is DEVICE_POLL and not lost:
            lost += 1
            raise StoreUnavailable("the answer was lost")
        return reply

    monkeypatch.setattr(heart.store, "run", losing)
    assert await poll(stored, attempt, clock) == "pending"
    assert lost == 1
    change = {"status": DeviceStatus.APPROVED}
    assert await stored.step(attempt, now=clock.now, among=[DeviceStatus.PENDING], change=change)
    lost = 0
    assert await poll(stored, attempt, clock) == "approved"
    assert await poll(stored, attempt, clock) == "spent"


async def test_the_providers_code_opens_at_its_place_alone(
    stored: StoredDeviceAuthorizations, attempt: DeviceAuthorization, heart: Heart
) -> None:
    """Sealed for this attempt of this tenant."""  # K2
    await stored.create(attempt, provider_code="theirs", ask_every=7)
    assert await stored.provider_code(attempt) == ("theirs", 7)
    other = replace(attempt, id=new_id("da"))
    await stored.create(other)
    sealed = await heart.store.execute("HGET", f"broker:{attempt.id}", "upstream")
    await heart.store.execute("HSET", f"broker:{other.id}", "upstream", sealed, "ask_every", 7)
    with pytest.raises(Exception, match="fails authentication"):
        await stored.provider_code(other)


async def test_a_step_is_taken_in_time_and_from_where_it_stands(
    stored: StoredDeviceAuthorizations, attempt: DeviceAuthorization, clock: FakeClock
) -> None:
    """Of many, one; after its end, none."""
    await stored.create(attempt)

    async def step(to: DeviceStatus, *among: DeviceStatus, now: int) -> bool:
        return await stored.step(attempt, now=now, among=among, change={"status": to})

    assert await step(DeviceStatus.AUTHORIZING, DeviceStatus.PENDING, now=clock.now)
    assert not await step(DeviceStatus.AUTHORIZING, DeviceStatus.PENDING, now=clock.now)
    assert not await step(DeviceStatus.DENIED, DeviceStatus.AUTHORIZING, now=attempt.expires_at)
