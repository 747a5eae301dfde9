"""What happens in the middle of a rotation: its process is killed, tokens are refreshed, another rotation starts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

import pytest
import redis

from broker.errors import Conflict, StoreUnavailable
from broker.models.connection import Credential
from broker.vault import names
from broker.vault.leases import Lease, Leases
from broker.vault.opening import open_store
from broker.vault.records import Records
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.redis.store import Argument, Commit, Confirmation, Reply, Store
from broker.vault.replicas import LIVES
from broker.vault.scripts import Script
from tests.vault.rotating import (
    ENVELOPES,
    Filled,
    Open,
    age,
    both,
    naming,
    new_ring,
    old_ring,
    rotation_of,
    silent,
)
from tests.vault.samples import an_event


class Killed(Exception):
    """The process is gone."""


class Through:
    """A store that passes on what it is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, *parts: Argument) -> Reply:
        return await self._store.execute(*parts)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        return await self._store.run(script, keys, arguments)

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        return Commit(await self.run(script, keys, arguments), Confirmation(None))

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        return self._store.scan(pattern)

    async def infos(self) -> Mapping[str, Reply | StoreUnavailable]:
        return await self._store.infos()

    async def aclose(self) -> None:
        """The store belongs to the test."""


class Dying(Through):
    """A store whose user is killed at its n-th command, before or after the store has carried it out."""

    def __init__(self, store: Store, *, at: int, carried_out: bool) -> None:
        super().__init__(store)
        self._left = at
        self._carried_out = carried_out

    async def execute(self, *parts: Argument) -> Reply:
        return await self._unless_dead(lambda: self._store.execute(*parts))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        return await self._unless_dead(lambda: self._store.run(script, keys, arguments))

    async def _unless_dead(self, command: Callable[[], Awaitable[Reply]]) -> Reply:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._carried_out):
            raise Killed
        reply = await command()
        if self._left == 0:
            raise Killed
        return reply


async def test_killed_at_any_step_it_goes_on(store_server: EmbeddedStore, raw_store: redis.Redis) -> None:
    """Ended before or after any one command it leaves everything readable; run again, it comes to its end."""  # K5
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
            with suppress(Killed):
                await rotation_of(dying, ring).run("k2", silent)
                ended_by_itself = True
            await filled.opens_with(store, both())
            age(raw_store, LIVES)
            outcome = await rotation_of(store, ring).run("k2", silent)
            assert outcome.tally.unreadable == ()
            assert naming(raw_store, "k1") == []
            assert set(cast("dict[bytes, bytes]", raw_store.hgetall(names.KEYRING))) == {b"writer", b"kid:k2"}
            await filled.opens_with(store, new_ring())
            await first.aclose()
            await store.aclose()
    assert at > 15


class Interrupted(Through):
    """A store in whose use something happens before the first rewrap reaches it."""

    def __init__(self, store: Store, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(store)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        if script.name == "rewrap" and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return await self._store.run(script, keys, arguments)


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
        lease = await Leases(store).take(connection, "owner")
        assert isinstance(lease, Lease)
        assert (await records.replace(connection, after, renewed, an_event(connection), lease=lease)).stored

    outcome = await rotation_of(Interrupted(store, refresh), ring).run("k2", silent)
    assert outcome.tally.overtaken == 2
    alone = new_ring()
    assert await Records(await open_(alone), alone).read_with_credential(connection.id) == (after, renewed)
    assert naming(raw_store, "k1") == []


async def test_a_write_with_the_old_key_in_the_middle_is_found(open_: Open, raw_store: redis.Redis) -> None:
    """What was on its way, sealed with the old key, is rewrapped before the old key is retired."""  # K5
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


class Arriving(Interrupted):
    """A store into which something comes at the end of each of the first looks through it."""

    def __init__(self, store: Store, arrives: Callable[[], Awaitable[object]], *, looks: int) -> None:
        super().__init__(store, _nothing)
        self._arrives = arrives
        self._looks = looks

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        async for page in self._store.scan(pattern):
            yield page
        self._looks -= 1
        if self._looks >= 0:
            await self._arrives()


async def _nothing() -> None:
    pass


async def test_it_looks_until_there_is_nothing_left(open_: Open, raw_store: redis.Redis) -> None:
    """Stragglers that come after a look are found by the next one, however many looks it takes."""  # K5
    old, ring = old_ring(), both()
    filled = await Filled(await open_(old), old).add(connections=1)
    store = Arriving(await open_(ring), lambda: filled.add(connections=1), looks=3)
    outcome = await rotation_of(store, ring).run("k2", silent)
    assert (outcome.tally.rewrapped, outcome.retired) == (8, ("k1",))
    assert naming(raw_store, "k1") == []


async def test_something_that_never_stops_sealing_with_the_old_key_is_told(open_: Open, raw_store: redis.Redis) -> None:
    """A process that nobody counts: the rotation ends with an error, and the old key stays registered."""  # K5
    old, ring = old_ring(), both()
    filled = await Filled(await open_(old), old).add(connections=1)
    store = Arriving(await open_(ring), lambda: filled.add(connections=1), looks=1000)
    with pytest.raises(Conflict, match="goes on sealing"):
        await rotation_of(store, ring).run("k2", silent)
    assert raw_store.hexists(names.KEYRING, "kid:k1")


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


async def test_two_rotations_at_once_do_no_harm(open_: Open, filled: Filled, raw_store: redis.Redis) -> None:
    """Both come to their end, each envelope is rewrapped once."""  # K5
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
