"""Thousands of everything come and go, and the store holds what it held before: the same keys with the same in them.

Time is the test's own, but for what the store lets go of by itself. So of that is asserted that each has its end, no
later one than that of the record of events, and that none of it has more in it the second time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.background.checking import Checking
from broker.background.chores import WhatIsDue
from broker.background.refreshing import RefreshAhead
from broker.models.connection import Minted
from broker.models.event import Event
from broker.models.ids import digest, new_id, new_secret
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.settings import Settings
from broker.settings.values import Retention
from broker.vault.counters import Counters
from broker.vault.leadership import Leadership
from broker.vault.leases import Lease
from broker.vault.references import StoredReferences
from broker.vault.sessions import Sessions
from broker.vault.siblings import Siblings
from broker.vault.spent import SpentIds
from tests.downstream.oauth.calls import reference_for
from tests.journey import MakeClient
from tests.machine import MakeMachine, approve
from tests.world import FakeClock, Person, ServiceClient

DAY: Final = 86_400
KEPT: Final = 40 * DAY * 1000
ROUNDS: Final = 12
MANY: Final = 800
AT_ONCE: Final = 8


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A record of events that is short."""
    return settings.model_copy(update={"events_retention": Retention(KEPT, 50)})


async def several(times: int, step: Callable[[int], Awaitable[Any]], *, at_once: int = AT_ONCE) -> list[Any]:
    """Do something so often, a few at the same time."""
    turns = asyncio.Semaphore(at_once)

    async def one(number: int) -> Any:
        async with turns:
            return await step(number)

    return await asyncio.gather(*map(one, range(times)))


class Soak:
    """Everything that comes and goes, through the faces where there are some."""

    def __init__(self, heart: Heart, app: ServiceClient, make_machine: MakeMachine, clock: FakeClock) -> None:
        self.heart = heart
        self.app = app
        self.make_machine = make_machine
        self.clock = clock
        self.connections: list[str] = []

    async def connection(self, number: int) -> None:
        """Handed in, fetched, referred to, and some asked for twice; the references are spent, revoked and left."""
        body = {
            "provider": "practice",
            "subject": f"person {number % (ROUNDS // 2)}",
            "credentials": {"access_token": new_secret(), "expires_at": self.clock.now // 1000 + 3600},
            "validate": False,
        }
        headers = {"Idempotency-Key": new_id("order")} if number % 2 else {}
        made = [await self.app.call("POST", "/v1/connections", body, headers=headers) for _ in headers or [1]]
        connection = made[0].raise_for_status().json()
        self.connections.append(connection["id"])
        assert (await self.app.fetch(connection["id"])).status_code == 200
        assert (await self.app.redeem(await reference_for(self.app, connection, self.app))).status_code == 200
        await reference_for(self.app, connection, self.app)
        lease = await self.heart.leases.take(await self._read(connection["id"]), new_id("owner"))
        if isinstance(lease, Lease) and number % 2:
            await self.heart.leases.drop(lease)

    async def _read(self, connection_id: str) -> Any:
        found = await self.heart.records.read(connection_id)
        assert found is not None
        return found

    async def session(self, number: int) -> None:
        """Opened; some by a person who comes back, or looks and goes away."""
        opened = await self.app.open_session(subject=f"visitor {number}")
        if number % 10 == 0:
            person = Person(self.app.http, account="alice@practice.example")
            returned = await person.connect(opened["connect_url"])
            completed = await self.app.complete(opened["id"], returned["completion_code"], f"visitor {number}")
            self.connections.append(completed.raise_for_status().json()["connection"]["id"])
        elif number % 3 == 0:
            await Person(self.app.http).press(opened["connect_url"])

    async def machine(self, number: int) -> None:
        """A client of its own begins to log in; some collect, some refresh and log out; then the client goes."""
        machine = await self.make_machine()
        begun = await machine.begin()
        if number % 4 == 0:
            await approve(self.heart, Person(self.app.http), begun["user_code"])
            await machine.collect()
            self.connections.append(machine.tokens["connection_id"])
            if number % 8 == 0:
                await machine.refresh()
                await machine.post("/oauth/revoke", token=machine.tokens["refresh_token"])
        await self.heart.clients.delete(machine.client_id)

    async def end(self, number: int) -> None:
        """A connection is disconnected."""
        answer = await self.app.call("DELETE", f"/v1/connections/{self.connections[number]}")
        assert answer.status_code in {200, 202}, answer.text

    async def passing(self, number: int) -> None:
        """What the vault keeps for a while only, without the faces before it."""
        store, now = self.heart.store, self.clock.now
        session = ConnectSession(
            new_id("cs"), "default", "cl_1", "App", "practice", "ann", Completion.APP, ("a",), now, now + 600_000
        )
        sessions = Sessions(store, self.heart.keyring)
        await sessions.create(session)
        if number % 2:
            await sessions.step(session, now=now, among=[SessionStatus.PENDING], change={"state_digest": "x"})
        await StoredReferences(store).issue(
            self.connections[number % len(self.connections)],
            digest(new_secret()),
            audience="cl_1",
            uses=1,
            ends_at=now + 60_000,
            event=Event("reference.issued", "default", now, self.connections[number % len(self.connections)], "cl_1"),
        )
        await Counters(store).count(f"soak/{number}", 60_000)
        await SpentIds(store).spend("cl_1", str(number), lifetime=60_000)
        minted = Minted("https://busy.example", "app-1")
        await Siblings(store).expect(minted, session.id, now=now, until=now + 120_000)
        if number % 2:
            await Siblings(store).arrived(minted, session.id)
        client = await self.heart.clients.read(self.app.client_id)
        assert client is not None
        await self.heart.broker_tokens.issue(client, None)

    async def chores(self) -> None:
        """All that the background does, until there is nothing to do."""
        heart = self.heart
        parts = (heart.due, heart.records)
        ended = WhatIsDue(
            heart.due, heart.revocations, heart.giving_back, heart.directory, heart.devices.life, heart.clock
        )
        ahead = RefreshAhead(*parts, heart.refresher, heart.providers, heart.clock, looks_every=0)
        checking = Checking(*parts, heart.lifecycle, heart.providers, heart.clock)
        for step in (ended.step, ahead.step, checking.step, heart.bookkeeping.settle_all):
            while await step():
                pass
            await ahead.finish()
            await checking.finish()
        await Leadership(heart.store).leads("soak")


def lasting(store: redis.Redis) -> dict[bytes, Any]:
    """What would be there for ever, with what is in it."""
    keys = cast("list[bytes]", store.keys("*"))
    found = {key: sorted(_members(store, key), key=repr) for key in keys if store.pttl(key.decode()) == -1}
    return dict(sorted(found.items()))


def passing(store: redis.Redis) -> dict[bytes, int]:
    """What goes by itself, and how much is in it."""
    keys = cast("list[bytes]", store.keys("*"))
    ends = {key: store.pttl(key.decode()) for key in keys}
    assert max(ends.values()) <= KEPT
    return {key: len(_members(store, key)) for key, end in ends.items() if end > 0}


def _members(store: redis.Redis, key: bytes) -> list[Any]:
    readers: dict[bytes, Callable[[str], Any]] = {
        b"none": lambda _: [],  # it went meanwhile
        b"string": lambda name: [store.get(name)],
        b"hash": lambda name: list(store.hgetall(name).items()),
        b"set": lambda name: list(store.smembers(name)),
        b"zset": lambda name: store.zrange(name, 0, -1, withscores=True),
        b"list": lambda name: store.lrange(name, 0, -1),
        b"stream": lambda name: [b"a stream, be it empty", *cast("list[Any]", store.xrange(name))],
    }
    return list(readers[cast("bytes", store.type(key.decode()))](key.decode()))


async def test_what_comes_and_goes_leaves_nothing(
    heart: Heart,
    make_client: MakeClient,
    make_machine: MakeMachine,
    clock: FakeClock,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
) -> None:
    """Twice, a month apart: nothing lasts that was not there before, and nothing that passes grows with time."""
    app = await make_client()
    await heart.bookkeeping.settle_all()
    before, sizes = lasting(raw_store), []
    for _ in range(2):
        # Another token: a month later the old one has ended.
        soak = Soak(heart, ServiceClient(app.http, app.client_id, app.secret), make_machine, clock)
        await several(ROUNDS * 2, soak.connection)
        await several(ROUNDS, soak.session)
        await several(ROUNDS // 2, soak.machine)
        await several(MANY, soak.passing)
        await soak.chores()
        await several(len(soak.connections), soak.end)
        assert len(lasting(raw_store)) > len(before)
        clock.advance(seconds=31 * DAY)
        await soak.chores()
        sizes.append(passing(raw_store))
        assert lasting(raw_store) == before
    again = sizes[0].keys() & sizes[1].keys()
    assert {key: sizes[1][key] for key in again if sizes[1][key] > sizes[0][key]} == {}
