"""Rotating the keys: everything ends up under the new one, whatever happens in between."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Conflict, SealBroken, StoreUnavailable
from broker.models.connection import Connection, Credential
from broker.models.ids import new_id
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.vault import names
from broker.vault.keyring import Keyring, Place
from broker.vault.opening import open_store
from broker.vault.records import Lease, Records
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Argument, Reply, Store
from broker.vault.replicas import LIVES, Replicas
from broker.vault.revocations import Job, Revocations
from broker.vault.rotation import Rotation
from broker.vault.scripts import Script
from broker.vault.sessions import Sessions
from tests.journey import snapshot
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event
from tests.vault.test_replicas import age

KEY_1, KEY_2 = bytes(range(32)), bytes(range(32, 64))
END = NOW + 9**13


def old_ring() -> Keyring:
    """Before anybody thought of a new key."""
    return Keyring([("k1", KEY_1)])


def both() -> Keyring:
    """While keys rotate: the new one first."""
    return Keyring([("k2", KEY_2), ("k1", KEY_1)])


def back() -> Keyring:
    """The old one first again."""
    return Keyring([("k1", KEY_1), ("k2", KEY_2)])


def new_ring() -> Keyring:
    """After everything is under the new key."""
    return Keyring([("k2", KEY_2)])


def silent(_: str) -> None:
    """Nobody listens."""


Open = Callable[[Keyring], Awaitable[Store]]


@pytest.fixture
async def open_(raw_store: redis.Redis, store_server: EmbeddedStore) -> AsyncIterator[Open]:
    """``await open_(ring)``: the store, opened by a process with this ring."""
    stores: list[Store] = []

    async def make(ring: Keyring) -> Store:
        stores.append(open_store(store_server.url, ring, wait_replicas=0))
        await stores[-1].execute("PING")
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()


def rotation_of(store: Store, ring: Keyring) -> Rotation:
    """A rotation that doesn't wait for what is on its way: nothing is, in these tests."""
    return Rotation(store, ring, Replicas(store, ring), in_flight=0)


class Filled:
    """A store with every kind of secret in it, and what each of them is."""

    def __init__(self, store: Store, ring: Keyring) -> None:
        self.store = store
        self.ring = ring
        self.connections: list[tuple[Connection, Credential]] = []
        self.ended: list[Job] = []
        self.parked: list[tuple[Connection, list[bytes]]] = []
        self.sessions: list[tuple[ConnectSession, dict[str, str]]] = []

    async def add(self, *, connections: int = 0, ended: int = 0, parked: int = 0, sessions: int = 0) -> "Filled":
        """So many of each kind; every other connection keeps its previous refresh token."""
        for number in range(connections):
            await self._add_connection(Credential(f"access {number}", f"refresh {number}", "before" * (number % 2)))
        for number in range(ended):
            await self._add_ended(number)
        for number in range(parked):
            await self._add_parked(number + 1)
        for number in range(sessions):
            await self._add_session(number)
        return self

    async def _add_connection(self, credential: Credential) -> Connection:
        connection = a_connection(tenant=f"tenant {len(self.connections)}")
        await Records(self.store, self.ring).create(connection, credential, an_event(connection))
        self.connections.append((connection, credential))
        return connection

    async def _add_ended(self, number: int) -> None:
        connection = a_connection()
        await Records(self.store, self.ring).create(connection, CREDENTIAL, an_event(connection))
        job = Job(connection.id, "practice", {"subdomain": "north"}, f"access {number}", f"refresh {number}")
        event = an_event(connection)
        assert await Revocations(self.store, self.ring).disconnect(connection, job, event, stays=60_000)
        self.ended.append(job)

    async def _add_parked(self, count: int) -> None:
        connection = await self._add_connection(CREDENTIAL)
        secrets = [f"parked {number}".encode() for number in range(count)]
        for secret in secrets:
            header = {"tenant": connection.tenant, "grant": connection.grant_id, "generation": connection.generation}
            place = Place(connection.tenant, connection.id, connection.grant_id, "parked", connection.generation)
            entry = json.dumps(header).encode() + b"\n" + self.ring.seal(place, secret)
            await self.store.execute("RPUSH", f"{names.record(connection.id)}:parked", entry)
        await self.store.execute("EXPIRE", f"{names.record(connection.id)}:parked", 600)
        self.parked.append((connection, secrets))

    async def _add_session(self, number: int) -> None:
        session = ConnectSession(
            id=new_id("cs"), tenant="acme", client_id="cl_1", client_name="App", provider="practice", subject="ann",
            completion=Completion.APP, scopes=("profile",), created_at=NOW, expires_at=END,
        )  # fmt: skip
        sessions = Sessions(self.store, self.ring)
        await sessions.create(session)
        secrets = {"verifier": f"verifier {number}", "code": f"code {number}", "completion_code": f"done {number}"}
        # One that left for the provider has a verifier only.
        secrets = dict(list(secrets.items())[: 1 + 2 * (number % 2)])
        change: dict[str, Argument] = {name: sessions.seal(session, name, text) for name, text in secrets.items()}
        change |= {"status": SessionStatus.AUTHORIZING}
        assert await sessions.step(session, now=NOW, among=[SessionStatus.PENDING], change=change)
        self.sessions.append((session, secrets))

    async def opens_with(self, store: Store, ring: Keyring) -> None:
        """Every secret reads as it was written, with this ring alone."""
        records, revocations, sessions = Records(store, ring), Revocations(store, ring), Sessions(store, ring)
        for connection, credential in self.connections:
            read = await records.read_with_credential(connection.id)
            assert read == (connection, credential)
        for job in self.ended:
            assert await revocations.read(job.connection_id) == job
        for connection, secrets in self.parked:
            place = Place(connection.tenant, connection.id, connection.grant_id, "parked", connection.generation)
            entries = await store.execute("LRANGE", f"{names.record(connection.id)}:parked", 0, -1)
            assert [ring.open(place, entry.partition(b"\n")[2]) for entry in entries] == secrets
        for session, texts in self.sessions:
            assert await sessions.open(session) == texts


def naming(raw_store: redis.Redis, kid: str) -> list[bytes]:
    """The keys in whose serialized value an envelope's head with this key id stands, found without our own readers."""
    head = bytes((1, len(kid))) + kid.encode()
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": lambda key: [raw_store.get(key)],
        b"hash": raw_store.hvals,
        b"list": lambda key: raw_store.lrange(key.decode(), 0, -1),
        b"stream": lambda key: [text for _, fields in raw_store.xrange(key) for text in fields.values()],  # type: ignore[union-attr]
        b"zset": lambda key: raw_store.zrange(key, 0, -1),
        b"set": raw_store.smembers,
    }
    keys = cast("list[bytes]", raw_store.keys("*"))
    return [key for key in keys if any(head in text for text in readers[cast("bytes", raw_store.type(key))](key))]


@pytest.fixture
async def filled(open_: Open) -> Filled:
    """A store with a few of every kind, under the old key."""
    ring = old_ring()
    return await Filled(await open_(ring), ring).add(connections=5, ended=2, parked=3, sessions=4)


ENVELOPES = 2 * (5 + 3) + 2 + (1 + 2 + 3) + (1 + 3 + 1 + 3)
"""What ``filled`` holds."""


async def test_everything_opens_with_the_new_ring_alone(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """Every kind of secret is under the new key, none names the old one, and the store needs that no more."""  # K4
    ring = both()
    store = await open_(ring)
    outcome = await rotation_of(store, ring).run("k2", silent)
    assert (outcome.writer, outcome.retired) == ("k2", ("k1",))
    assert (outcome.tally.rewrapped, outcome.tally.already, outcome.tally.unreadable) == (ENVELOPES, 0, ())
    assert naming(raw_store, "k1") == []
    assert len(naming(raw_store, "k2")) == 5 + 3 + 2 + 3 + 4
    await filled.opens_with(await open_(new_ring()), new_ring())
    with pytest.raises(StoreUnavailable, match="'k2', which is not in the keyring"):
        await open_(old_ring())


async def test_nothing_else_changes(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """Generations, ends and everything in the clear stay; no event is written."""  # K5
    sealed = {b"a", b"s", b"verifier", b"code", b"completion_code"}

    def in_the_clear() -> dict[bytes, Any]:
        seen: dict[bytes, Any] = {}
        for key in cast("list[bytes]", raw_store.keys("broker:*")):
            kind = raw_store.type(key)
            if kind == b"hash" and not key.startswith(names.KEYRING.encode()):
                fields = cast("dict[bytes, bytes]", raw_store.hgetall(key))
                seen[key] = {name: text for name, text in fields.items() if name not in sealed}, set(fields)
            elif kind in {b"stream", b"zset"}:
                seen[key] = raw_store.dump(key)
            seen[key + b" ends"] = raw_store.pexpiretime(key.decode())
        return {key: value for key, value in seen.items() if not key.startswith(names.REPLICAS.encode())}

    before = in_the_clear()
    ring = both()
    await rotation_of(await open_(ring), ring).run("k2", silent)
    assert in_the_clear() == before


async def test_it_is_rotated_back_by_the_same_way(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """With the ring turned round, the key that was struck off is registered again and takes everything back."""
    ring = both()
    await rotation_of(await open_(ring), ring).run("k2", silent)
    ring = back()
    outcome = await rotation_of(await open_(ring), ring).run("k1", silent)
    assert (outcome.tally.rewrapped, outcome.retired) == (ENVELOPES, ("k2",))
    assert naming(raw_store, "k2") == []
    await filled.opens_with(await open_(old_ring()), old_ring())


async def test_run_again_it_finds_nothing_to_do(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """No byte of what is stored changes."""
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    await rotation.run("k2", silent)
    before = {key: value for key, value in snapshot(raw_store).items() if key != names.REPLICAS.encode()}
    outcome = await rotation.run("k2", silent)
    assert (outcome.tally.rewrapped, outcome.tally.already, outcome.retired) == (0, ENVELOPES, ())
    after = {key: value for key, value in snapshot(raw_store).items() if key != names.REPLICAS.encode()}
    assert after == before


counts = st.integers(0, 6)


@given(connections=counts, ended=counts, parked=st.integers(0, 3), sessions=counts, late=counts)
@settings(max_examples=15, deadline=None)
async def test_whatever_is_stored_ends_up_under_the_new_key(
    store_server: EmbeddedStore, connections: int, ended: int, parked: int, sessions: int, late: int
) -> None:
    """Of any number of secrets, some of them written with the new key already, all open with it alone."""  # K4
    with redis.Redis.from_url(store_server.url) as raw:
        raw.flushall()
        ring = both()
        store = open_store(store_server.url, ring, wait_replicas=0)
        # Nobody had a key before: this ring's first one would be the store's.
        first = open_store(store_server.url, old_ring(), wait_replicas=0)
        await first.execute("PING")
        await store.execute("PING")
        filled = await Filled(store, ring).add(
            connections=connections, ended=ended, parked=parked, sessions=sessions
        )
        rotation = rotation_of(store, ring)
        await rotation.move("k2", silent)
        await filled.add(connections=late, sessions=late)
        await rotation.run("k2", silent)
        assert naming(raw, "k1") == []
        alone = new_ring()
        opened = open_store(store_server.url, alone, wait_replicas=0)
        await filled.opens_with(opened, alone)
        for each in (opened, store, first):
            await each.aclose()


class Dying:
    """A store whose user is killed at its n-th command, before or after the store has carried it out."""

    def __init__(self, store: Store, *, at: int, carried_out: bool) -> None:
        self._store = store
        self._left = at
        self._carried_out = carried_out

    async def execute(self, *parts: Argument) -> Reply:
        return await self._unless_dead(lambda: self._store.execute(*parts))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        return await self._unless_dead(lambda: self._store.run(script, keys, arguments))

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        return self._store.scan(pattern)

    async def aclose(self) -> None:
        """The store belongs to the test."""

    async def _unless_dead(self, command: Callable[[], Awaitable[Reply]]) -> Reply:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._carried_out):
            raise StoreUnavailable("killed")
        reply = await command()
        if self._left == 0:
            raise StoreUnavailable("killed")
        return reply


async def test_killed_at_any_step_it_goes_on(store_server: EmbeddedStore, raw_store: redis.Redis) -> None:
    """Ended before or after each single command, and after each everything opens; run again, it comes to its end."""  # K5
    at, ended_by_itself = 0, False
    while not ended_by_itself:
        at += 1
        for carried_out in (False, True):
            raw_store.flushall()
            first_ring, ring = old_ring(), both()
            first = open_store(store_server.url, first_ring, wait_replicas=0)
            filled = await Filled(first, first_ring).add(connections=1, ended=1, parked=1, sessions=1)
            store = open_store(store_server.url, ring, wait_replicas=0)
            await store.execute("PING")
            dying = Dying(store, at=at, carried_out=carried_out)
            try:
                await rotation_of(dying, ring).run("k2", silent)
                ended_by_itself = True
            except StoreUnavailable as error:
                assert error.detail == "killed"
            await filled.opens_with(store, both())
            outcome = await rotation_of(store, ring).run("k2", silent)
            assert outcome.tally.unreadable == ()
            assert naming(raw_store, "k1") == []
            assert set(cast("dict[bytes, bytes]", raw_store.hgetall(names.KEYRING))) == {b"writer", b"kid:k2"}
            await filled.opens_with(store, new_ring())
            await first.aclose()
            await store.aclose()
    assert at > 15


class Interrupted:
    """A store in whose use something happens before the first rewrap reaches it."""

    def __init__(self, store: Store, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    async def execute(self, *parts: Argument) -> Reply:
        return await self._store.execute(*parts)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        if script.name == "rewrap" and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return await self._store.run(script, keys, arguments)

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        return self._store.scan(pattern)

    async def aclose(self) -> None:
        """The store belongs to the test."""


async def test_a_refresh_that_commits_meanwhile_wins(open_: Open, raw_store: redis.Redis) -> None:
    """Between reading and writing of a rewrap a new token comes: it stays, with its generation, and opens."""  # K5
    ring = both()
    first = await open_(old_ring())
    store = await open_(ring)
    filled = await Filled(first, old_ring()).add(connections=1)
    ((connection, _),) = filled.connections
    after, renewed = replace(connection, generation=2), Credential("access-2", "refresh-2")

    async def refresh() -> None:
        records = Records(store, ring)
        lease = await records.lease(connection, "owner", {"owner": "owner", "started": NOW})
        assert isinstance(lease, Lease)
        assert await records.replace(connection, after, renewed, an_event(connection), lease=lease)

    outcome = await rotation_of(Interrupted(store, refresh), ring).run("k2", silent)
    assert outcome.tally.overtaken == 2
    alone = new_ring()
    assert await Records(await open_(alone), alone).read_with_credential(connection.id) == (after, renewed)
    assert naming(raw_store, "k1") == []


async def test_a_write_with_the_old_key_in_the_middle_is_found(open_: Open, raw_store: redis.Redis) -> None:
    """What was on its way, sealed with the old key, is rewrapped by the next look before the old key is retired."""  # K5
    old = old_ring()
    first = await open_(old)
    ring = both()
    store = await open_(ring)
    filled = await Filled(first, old).add(connections=1)

    async def arrives() -> None:
        await filled.add(connections=3, sessions=2)

    outcome = await rotation_of(Interrupted(store, arrives), ring).run("k2", silent)
    assert outcome.retired == ("k1",)
    assert naming(raw_store, "k1") == []
    await filled.opens_with(store, new_ring())


async def test_what_disappears_meanwhile_stays_away(open_: Open, raw_store: redis.Redis) -> None:
    """A connection that is deleted between reading and writing does not come back as half a record."""  # K5
    old, ring = old_ring(), both()
    filled = await Filled(await open_(old), old).add(connections=1)
    store = await open_(ring)
    key = names.record(filled.connections[0][0].id)

    async def delete() -> None:
        raw_store.delete(key)

    await rotation_of(Interrupted(store, delete), ring).run("k2", silent)
    assert not raw_store.exists(key)


async def test_a_replica_that_lacks_the_key_keeps_it_from_writing(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """While it lives nothing changes, not even which keys a ring must hold; when it is gone, it goes on."""  # K4
    lagging_ring, ring = old_ring(), both()
    lagging = Replicas(await open_(lagging_ring), lagging_ring)
    await lagging.beat()
    store = await open_(ring)
    before = {key: value for key, value in snapshot(raw_store).items() if key != names.REPLICAS.encode()}
    seen: list[str] = []

    async def live_on() -> None:
        # Beats that come during the rotation's first look.
        age(raw_store, -1000)

    class Watching(Interrupted):
        async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
            reply = await super().run(script, keys, arguments)
            if script.name == "keyring_move":
                await live_on()
            return reply

    with pytest.raises(Conflict, match="1 of the running broker processes lack it"):
        await rotation_of(Watching(store, live_on), ring).run("k2", seen.append)
    assert {key: value for key, value in snapshot(raw_store).items() if key != names.REPLICAS.encode()} == before
    # Its connection may be lost: it is not turned away.
    await (await open_(old_ring())).execute("PING")
    await lagging.sign_off()
    assert (await rotation_of(store, ring).run("k2", silent)).retired == ("k1",)


async def test_a_replica_that_was_killed_is_waited_for_until_its_time_is_over(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """One that isn't heard of again may have ended: no error, and no change before that is sure."""  # K4
    killed_ring, ring = old_ring(), both()
    await Replicas(await open_(killed_ring), killed_ring).beat()
    store = await open_(ring)
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        if "may have ended" in text:
            assert raw_store.hget(names.KEYRING, "writer") == b"k1"
            age(raw_store, LIVES)

    assert (await rotation_of(store, ring).run("k2", tell)).retired == ("k1",)
    assert any("1 processes that lack the key" in text for text in said)


async def test_a_replica_with_another_key_under_the_id_lacks_it(open_: Open, filled: Filled) -> None:
    """Keys are told apart by their fingerprints, not by their names."""  # K4
    other = Keyring([("k1", KEY_1), ("k2", bytes(32))])
    await Replicas(await open_(other), other).beat()
    ring = both()
    store = await open_(ring)
    verdict = await store.run(
        __import__("broker.vault.scripts", fromlist=["x"]).KEYRING_MOVE,
        [names.KEYRING, names.REPLICAS],
        ["k2", ring.fingerprints()["k2"]],
    )
    assert verdict[0] == b"lacking"


async def test_nothing_is_rewrapped_before_all_write_with_the_key(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """A replica that holds the key but hasn't heard yet is waited for; its next beat lets the rotation go on."""  # K4
    slow_ring, ring = both(), both()
    slow = Replicas(await open_(slow_ring), slow_ring)
    await slow.beat()
    store = await open_(ring)

    class Hearing:
        """Lets the slow one beat, but only after the rotation was seen to wait."""

        waited = False

        def tell(self, text: str) -> None:
            if "to write with k2" in text:
                self.waited = True
                assert naming(raw_store, "k2") == []
                age(raw_store, LIVES)

    hearing = Hearing()
    await rotation_of(store, ring).run("k2", hearing.tell)
    assert hearing.waited


async def test_two_rotations_at_once_do_no_harm(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """Both come to their end, each envelope is rewrapped once."""  # K5
    import asyncio

    rings = [both(), both()]
    rotations = [rotation_of(await open_(ring), ring) for ring in rings]
    outcomes = await asyncio.gather(*(rotation.run("k2", silent) for rotation in rotations))
    assert sum(outcome.tally.rewrapped for outcome in outcomes) == ENVELOPES
    assert naming(raw_store, "k1") == []
    await filled.opens_with(await open_(new_ring()), new_ring())


async def test_a_rotation_whose_key_no_longer_writes_gives_up(open_: Open, filled: Filled) -> None:
    """Somebody rotates back meanwhile: the first one stops, and retires nothing."""
    ring = both()
    store = await open_(ring)

    async def turned_back() -> None:
        await store.execute("HSET", names.KEYRING, "writer", "k1")

    rotation = rotation_of(Interrupted(store, turned_back), ring)
    with pytest.raises(Conflict, match="'k1' the key that writes"):
        await rotation.run("k2", silent)
    assert (await rotation.state()).registered == ("k1", "k2")


@pytest.mark.parametrize("kind", ["flipped byte", "unknown key", "no envelope", "no header", "no tenant"])
async def test_what_cant_be_opened_is_named_and_keeps_the_old_key(
    open_: Open, filled: Filled, raw_store: redis.Redis, kind: str
) -> None:
    """It is left as it is, reported by its owner's id; everything else is rewrapped; the old key stays registered."""  # K3
    connection = filled.connections[0][0]
    key, job = names.record(connection.id), filled.ended[0]
    sealed = cast("bytes", raw_store.hget(key, "a"))
    match kind:
        case "flipped byte":
            raw_store.hset(key, "a", sealed[:-1] + bytes((sealed[-1] ^ 1,)))
        case "unknown key":
            raw_store.hset(key, "a", sealed.replace(b"k1", b"k9", 1))
        case "no envelope":
            raw_store.hset(key, "a", b"\x07" + sealed[1:])
        case "no header":
            raw_store.set(names.revocation(job.connection_id), b"{}\n" + sealed)
        case "no tenant":
            raw_store.hdel(key, "t")
    before = raw_store.hget(key, "a")
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    outcome = await rotation.run("k2", silent)
    owners = {one.id for one in outcome.tally.unreadable}
    assert owners == {job.connection_id if kind == "no header" else connection.id}
    assert outcome.retired == ()
    assert (await rotation.state()).registered == ("k1", "k2")
    if kind != "no header":
        assert raw_store.hget(key, "a") == before
    left = {"flipped byte": {"k1"}, "unknown key": {"k9"}, "no envelope": {""}, "no header": {"k1"}, "no tenant": {"k1"}}
    assert set(await rotation.count()) - {"k2"} == left[kind]


async def test_secrets_of_a_key_that_nobody_registered_are_taken_along(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """One who was cut off and wrote late, with a key that is retired: while a ring holds it, it is rewrapped."""  # K5
    late_ring = old_ring()
    late = await open_(late_ring)
    ring = both()
    store = await open_(ring)
    rotation = rotation_of(store, ring)
    await rotation.run("k2", silent)
    await Filled(late, late_ring).add(connections=1)
    assert naming(raw_store, "k1") != []
    outcome = await rotation.run("k2", silent)
    assert outcome.tally.rewrapped == 2
    assert naming(raw_store, "k1") == []


async def test_a_store_that_knows_another_key_by_that_id_refuses(open_: Open, filled: Filled) -> None:
    """A new key needs an id of its own."""  # K6
    store = await open_(old_ring())
    wrong = Keyring([("k1", KEY_2)])
    with pytest.raises(Conflict, match="another key under the id 'k1'"):
        await rotation_of(store, wrong).move("k1", silent)


async def test_state_and_count_tell_how_far_it_is(open_: Open, filled: Filled) -> None:
    """Which key writes, which are registered, how many secrets are under each; unfinished until the old is retired."""
    ring = both()
    rotation = rotation_of(await open_(ring), ring)
    state = await rotation.state()
    assert (state.writer, state.registered, state.unfinished) == ("k1", ("k1",), False)
    assert await rotation.count() == {"k1": ENVELOPES}
    await rotation.move("k2", silent)
    state = await rotation.state()
    assert (state.writer, state.registered, state.unfinished) == ("k2", ("k1", "k2"), True)
    await rotation.run("k2", silent)
    assert (await rotation.state()).registered == ("k2",)
    assert await rotation.count() == {"k2": ENVELOPES}


def test_a_rewrapped_secret_is_sealed_for_the_same_place_only() -> None:
    """It opens where it did before, with the new key; and a broken one is never sealed anew."""  # K2
    place = Place("acme", "con_1", "grant_1", "secrets", 7)
    envelope = old_ring().seal(place, b"secret")
    rewrapped = both().rewrap(place, envelope, "k2")
    assert new_ring().open(place, rewrapped) == b"secret"
    for moved in (replace(place, generation=8), replace(place, owner="con_2")):
        with pytest.raises(SealBroken):
            both().rewrap(moved, envelope, "k2")
