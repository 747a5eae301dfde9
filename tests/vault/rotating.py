"""What tests of a rotation share: a store with every kind of secret in it, the rings, and looks at what is stored."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import redis

from broker.models.connection import Connection, Credential
from broker.models.device import DeviceAuthorization, DeviceMode
from broker.models.ids import new_id
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.vault import names
from broker.vault.device_authorizations import StoredDeviceAuthorizations
from broker.vault.keyring import Keyring, Place
from broker.vault.records import Records
from broker.vault.redis.store import Argument, Store
from broker.vault.replicas import Replicas
from broker.vault.revocations import Job, Revocations
from broker.vault.rotation import Rotation
from broker.vault.sessions import Sessions
from broker.vault.typed import StoredTyped, Typed
from tests.journey import snapshot
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

KEY_1, KEY_2 = bytes(range(32)), bytes(range(32, 64))
END = NOW + 9**13

Open = Callable[[Keyring], Awaitable[Store]]
"""``await open_(ring)``: the store, opened by a process with this ring."""

ENVELOPES = 2 * (5 + 3) + 2 + (1 + 2 + 3) + (1 + 3 + 1 + 3) + 2 + 2
"""How many the fixture ``filled`` holds."""


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
        self.typed: list[tuple[ConnectSession, Typed]] = []
        self.devices: list[DeviceAuthorization] = []

    async def add(
        self, *, connections: int = 0, ended: int = 0, parked: int = 0, sessions: int = 0, devices: int = 0
    ) -> "Filled":
        """So many of each kind; every other connection keeps its previous refresh token."""
        for number in range(connections):
            await self._add_connection(Credential(f"access {number}", f"refresh {number}", "before" * (number % 2)))
        for number in range(ended):
            await self._add_ended(number)
        for number in range(parked):
            await self._add_parked(number + 1)
        for number in range(sessions):
            await self._add_session(number)
        for number in range(devices):
            await self._add_device(number)
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
        if number % 2:
            typed = Typed({"api_key": f"key {number}"}, {"region": "north"})
            await StoredTyped(self.store, self.ring).keep(session, typed, milliseconds=600_000)
            self.typed.append((session, typed))
        self.sessions.append((session, secrets))

    async def _add_device(self, number: int) -> None:
        attempt = DeviceAuthorization(
            id=new_id("da"), tenant="acme", client_id="cl_1", client_name="App", provider="practice",
            mode=DeviceMode.NATIVE, scopes=(), broker_scopes=(), created_at=NOW, expires_at=END,
            device_code_digest="", connection_id=new_id("con"),
        )  # fmt: skip
        stored = StoredDeviceAuthorizations(self.store, self.ring)
        assert await stored.create(attempt, provider_code=f"device code {number}", ask_every=5)
        self.devices.append(attempt)

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
        for session, typed in self.typed:
            assert await StoredTyped(store, ring).read(session) == typed
        devices = StoredDeviceAuthorizations(store, ring)
        for number, attempt in enumerate(self.devices):
            assert await devices.provider_code(attempt) == (f"device code {number}", 5)


def naming(raw_store: redis.Redis, kid: str) -> list[bytes]:
    """The keys in whose serialized value an envelope's head with this key id stands, found without our own readers."""
    head = bytes((1, len(kid))) + kid.encode()
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": lambda key: [raw_store.get(key) or b""],
        b"hash": raw_store.hvals,
        b"list": lambda key: raw_store.lrange(key.decode(), 0, -1),
        b"stream": lambda key: [text for _, fields in raw_store.xrange(key) for text in fields.values()],  # type: ignore[union-attr]
        b"zset": lambda key: raw_store.zrange(key, 0, -1),
        b"set": raw_store.smembers,
        # A lease that ended meanwhile.
        b"none": lambda _: [],
    }
    keys = cast("list[bytes]", raw_store.keys("*"))
    return [key for key in keys if any(head in text for text in readers[cast("bytes", raw_store.type(key))](key))]


def kept(raw_store: redis.Redis) -> dict[bytes, Any]:
    """All that is stored, to the byte, but for who lives."""
    return {key: value for key, value in snapshot(raw_store).items() if key != names.REPLICAS.encode()}


def age(raw_store: redis.Redis, milliseconds: int) -> None:
    """Let the last beats of all be so much longer ago."""
    for name, said in cast("dict[bytes, bytes]", raw_store.hgetall(names.REPLICAS)).items():
        until, _, rest = said.partition(b" ")
        raw_store.hset(names.REPLICAS, name.decode(), b"%d %s" % (int(until) - milliseconds, rest))
