"""A rotation waits for those who live: none is ever given what it can't read."""

import asyncio

import pytest
import redis

from broker.errors import Conflict
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.replicas import LIVES, Replicas
from broker.vault.rotation import Rotation
from tests.vault.rotating import (
    KEY_1,
    Filled,
    Open,
    age,
    both,
    kept,
    naming,
    old_ring,
    rotation_of,
    silent,
)


async def test_a_replica_that_lacks_the_key_keeps_it_from_writing(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """While it lives nothing changes, not even which keys a ring must hold; when it is gone, it goes on."""  # K4
    lagging_ring, ring = old_ring(), both()
    lagging = Replicas(await open_(lagging_ring), lagging_ring)
    await lagging.beat()
    store = await open_(ring)
    before = kept(raw_store)

    def it_beats(text: str) -> None:
        assert "1 processes that lack the key" in text
        age(raw_store, -1000)

    with pytest.raises(Conflict, match="1 of the running broker processes lack it"):
        await rotation_of(store, ring).run("k2", it_beats)
    assert kept(raw_store) == before
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
    assert sum("1 processes that lack the key" in text for text in said) == 1


async def test_a_replica_with_another_key_under_the_id_lacks_it(open_: Open, filled: Filled) -> None:
    """Keys are told apart by their fingerprints, not by their names."""  # K4
    other = Keyring([("k1", KEY_1), ("k2", bytes(32))])
    await Replicas(await open_(other), other).beat()
    ring = both()
    store = await open_(ring)
    keys, named = [names.KEYRING, names.REPLICAS], ["k2", ring.fingerprints()["k2"]]
    verdict = await store.run(scripts.KEYRING_MOVE, keys, named)
    assert verdict[0] == b"lacking"


async def test_nothing_is_rewrapped_before_all_write_with_the_key(
    open_: Open, filled: Filled, raw_store: redis.Redis
) -> None:
    """A replica that holds the key but hasn't heard yet is waited for; its next beat lets the rotation go on."""  # K4
    slow_ring, ring = both(), both()
    slow = Replicas(await open_(slow_ring), slow_ring)
    await slow.beat()
    store = await open_(ring)

    waits, done = asyncio.Event(), asyncio.Event()

    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        if "to write with k2" in text:
            waits.set()

    async def beat_late() -> None:
        await waits.wait()
        assert naming(raw_store, "k2") == []
        await slow.beat()
        done.set()

    late = asyncio.create_task(beat_late())
    await Rotation(store, ring, Replicas(store, ring), in_flight=0.05).run("k2", tell)
    assert done.is_set()
    # What the slow one sealed just before may still arrive.
    assert "waiting for what is on its way to the store" in said
    await late
