"""The hot path's one step: token, reference and audit event together, or nothing at all."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.models.access import Reach
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.references import StoredReferences
from broker.vault.release import Claim, Kept, Release, Releases
from tests.journey import snapshot
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import CREDENTIAL, EVERYTHING, NOW, PRACTICE, a_connection, an_event, outbox


class Gate:
    """Releases of one connection with everything allowed unless a test says otherwise."""

    def __init__(self, pipeline: Store, keyring: Keyring, raw_store: redis.Redis) -> None:
        self.records = Records(pipeline, keyring)
        self.references = StoredReferences(pipeline)
        self._releases = Releases(pipeline, keyring)
        self._raw_store = raw_store
        self.connection = a_connection()

    async def store(self, connection: Connection) -> None:
        """Store ``connection`` and let the releases be its."""
        self.connection = connection
        await self.records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))

    async def refer(self, digest: str, *, uses: int = 1, audience: str = "cl_app", ends_at: int = NOW + 10**12) -> None:
        """Issue a reference."""
        event = an_event(self.connection, "reference.issued")
        outcome = await self.references.issue(
            self.connection.id, digest, audience=audience, uses=uses, ends_at=ends_at, event=event
        )
        assert outcome == "ok"

    async def release(self, **changes: Any) -> Release | Kept:
        """Try to release the token."""
        options = {
            "event": an_event(self.connection),
            "outlive": NOW,
            "reach": EVERYTHING,
            "released": PRACTICE,
            **changes,
        }
        event, outlive = options.pop("event"), options.pop("outlive")
        return await self._releases.release(self.connection.id, Claim(**options), event, outlive)

    def events(self) -> list[Event]:
        """What was recorded of releases."""
        return [event for event in outbox(self._raw_store, self.connection.id) if event.type == "token.released"]

    def state(self) -> dict[bytes, tuple[Any, Any]]:
        """All of the store."""
        return snapshot(self._raw_store)


@pytest.fixture
async def gate(pipeline: Store, keyring: Keyring, raw_store: redis.Redis) -> Gate:
    """A gate before one active connection."""
    gate = Gate(pipeline, keyring, raw_store)
    await gate.store(a_connection())
    return gate


async def test_a_token_leaves_with_its_event(gate: Gate) -> None:
    """Token, expiry, scopes and generation are answered, and the event names provider and generation."""
    assert await gate.release() == Release(
        connection_id=gate.connection.id,
        provider="practice",
        access_token="access-1",
        generation=1,
        expires_at=NOW + 3_600_000,
        scopes=("profile", "messages.read"),
        released_at=NOW,
    )
    (event,) = gate.events()
    assert event.data == {"provider": "practice", "generation": 1}
    assert (event.tenant, event.client_id, event.connection_id) == ("acme", "cl_app", gate.connection.id)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"reach": Reach("other", None)}, Kept("absent")),
        ({"reach": Reach("", None)}, Kept("absent")),
        ({"reach": Reach("acme", frozenset())}, Kept("absent")),
        ({"reach": Reach("acme", frozenset({"practice-two"}))}, Kept("absent")),
        ({"reach": Reach("acme", frozenset({"pract"}))}, Kept("absent")),
        ({"released": frozenset()}, Kept("withheld", provider="practice")),
        ({"released": frozenset({"practice-two"})}, Kept("withheld", provider="practice")),
        ({"outlive": NOW + 3_600_000}, Kept("stale", generation=1)),
        ({"refused_generation": 1}, Kept("stale", generation=1)),
        ({"reference_digest": "unknown"}, Kept("reference")),
        ({"reference_digest": "foreign"}, Kept("reference")),
        ({"reference_digest": "late"}, Kept("reference")),
        ({"reference_digest": "good", "outlive": NOW + 3_600_000}, Kept("stale", generation=1)),
        ({"reference_digest": "good", "reach": Reach("other", None)}, Kept("absent")),
        ({"reference_digest": "good", "released": frozenset({"pract"})}, Kept("withheld", provider="practice")),
    ],
    ids=lambda value: str(value).replace("frozenset", "") if isinstance(value, dict) else value.reason,
)
async def test_what_is_kept_leaves_no_trace(gate: Gate, options: dict[str, Any], kept: Kept) -> None:
    """Whatever stands in the way: no token, no event, no use of the reference, not a byte changed."""  # S5, S7
    await gate.refer("good")
    await gate.refer("foreign", audience="cl_other")
    await gate.refer("late", ends_at=NOW + 10**12)
    late = {"event": an_event(gate.connection, at=NOW + 10**12)} if options.get("reference_digest") == "late" else {}
    before = gate.state()
    assert await gate.release(**options, **late) == kept
    assert gate.state() == before


@pytest.mark.parametrize("status", [Status.REAUTH_REQUIRED, Status.DISABLED, Status.REVOKED])
async def test_a_connection_that_is_not_active_releases_nothing(gate: Gate, status: Status) -> None:
    """Its status is answered, and a reference to it is not spent."""
    await gate.refer("good")
    await gate.records.annotate(gate.connection, status=status, updated_at=NOW)
    before = gate.state()
    assert await gate.release(reference_digest="good") == Kept("status", status=status)
    assert gate.state() == before


@pytest.mark.parametrize("tenant", ["", None])
async def test_a_record_without_tenant_is_absent(gate: Gate, raw_store: redis.Redis, tenant: str | None) -> None:
    """Neither a caller without tenant nor any other gets the token of a record without one."""  # S6
    key = names.record(gate.connection.id)
    if tenant is None:
        raw_store.hdel(key, "t")
    else:
        raw_store.hset(key, "t", tenant)
    for reach in (Reach("", None), Reach("default", None), EVERYTHING):
        assert await gate.release(reach=reach) == Kept("absent")
    assert gate.events() == []


async def test_a_reference_of_one_use_is_spent_once(gate: Gate) -> None:
    """Fifty redemptions at the same moment: one token, one event, 49 refusals."""  # S7
    await gate.refer("once")
    outcomes = await asyncio.gather(*(gate.release(reference_digest="once") for _ in range(50)))
    assert sum(isinstance(outcome, Release) for outcome in outcomes) == 1
    assert outcomes.count(Kept("reference")) == 49
    assert len(gate.events()) == 1


async def test_a_reference_is_spent_use_by_use(gate: Gate) -> None:
    """Three uses are three tokens; then it is gone."""  # S7
    await gate.refer("thrice", uses=3)
    for left in ("3", "2", "1"):
        stored = await gate.references.read(gate.connection.id, "thrice")
        assert stored is not None
        assert stored["left"] == left
        assert isinstance(await gate.release(reference_digest="thrice"), Release)
    assert await gate.references.read(gate.connection.id, "thrice") is None
    assert await gate.release(reference_digest="thrice") == Kept("reference")


async def test_a_token_outlives_the_moment_strictly(gate: Gate) -> None:
    """A token that ends at the very moment is stale, a millisecond before it is not; one without end never is."""
    assert isinstance(await gate.release(outlive=NOW + 3_600_000 - 1), Release)
    assert isinstance(await gate.release(outlive=NOW + 3_600_000), Kept)
    await gate.store(a_connection(access_token_expires_at=None))
    eternal = await gate.release(outlive=NOW + 10**12)
    assert isinstance(eternal, Release)
    assert eternal.expires_at is None


async def test_a_refusal_of_an_older_generation_is_no_reason_to_refresh(gate: Gate) -> None:
    """Only the current generation counts as refused."""
    await gate.store(a_connection(generation=2))
    assert isinstance(await gate.release(refused_generation=1), Release)
    assert await gate.release(refused_generation=2) == Kept("stale", generation=2)


async def test_the_last_use_is_noted_at_most_once_a_minute(gate: Gate) -> None:
    """The first release notes its time, those within a minute don't, a later one does."""
    for at, noted in ((NOW, NOW), (NOW + 60_000, NOW), (NOW + 60_001, NOW + 60_001)):
        await gate.release(event=replace(an_event(gate.connection), at=at))
        read = await gate.records.read(gate.connection.id)
        assert read is not None
        assert read.last_used_at == noted


async def test_no_token_leaves_when_its_event_cant_be_stored(gate: Gate, raw_store: redis.Redis) -> None:
    """With the store's memory full the release is refused, and a reference stays usable."""  # R5
    await gate.refer("good")
    raw_store.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="OOM"):
            await gate.release(reference_digest="good")
    finally:
        raw_store.config_set("maxmemory", 0)
    assert gate.events() == []
    assert isinstance(await gate.release(reference_digest="good"), Release)


async def test_a_release_is_one_round_trip(gate: Gate, raw_store: redis.Redis) -> None:
    """The store saw one command more."""

    def commands() -> int:
        return int(raw_store.info("commandstats")["cmdstat_evalsha"]["calls"])

    before = commands(), raw_store.info("stats")["total_commands_processed"]
    await gate.release()
    inside = ("hmget", "xadd", "hset")  # run by the script, in the store
    after = commands(), raw_store.info("stats")["total_commands_processed"]
    asked_by_this_test = 2
    assert after[0] - before[0] == 1
    assert after[1] - before[1] <= 1 + len(inside) + asked_by_this_test


async def test_a_lost_answer_spends_a_use_once(raw_store: redis.Redis, keyring: Keyring, proxy: FaultyProxy) -> None:
    """Asked for again by the same name: the token leaves, with one event, and no second use is gone."""  # R3
    pipeline = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    gate = Gate(pipeline, keyring, raw_store)
    await gate.store(a_connection())
    await gate.refer("twice", uses=2)
    proxy.drop_next_answer()
    assert isinstance(await gate.release(reference_digest="twice"), Release)
    assert len({event.id for event in gate.events()}) == 1
    assert isinstance(await gate.release(reference_digest="twice"), Release)
    assert await gate.release(reference_digest="twice") == Kept("reference")
    await pipeline.aclose()
