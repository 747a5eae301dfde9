"""What is noted of exports that switch connections off."""

import asyncio

import redis

from broker.app.heart import Heart
from broker.models.ids import new_id
from broker.vault import names
from broker.vault.exports import KEPT, StoredExports

NOW = 1_800_000_000_000
DAY = 86_400_000


async def test_how_it_comes_out_is_decided_once(heart: Heart) -> None:
    """By the export or by who undoes it, never by both; who repeats the question gets the same answer."""
    exports, export_id = StoredExports(heart.store), new_id("exp")
    await exports.begin(export_id, NOW)
    left, undone = await asyncio.gather(exports.decide(export_id, "left"), exports.decide(export_id, "undone"))
    assert left is not undone
    assert await exports.decide(export_id, "left") is left
    assert await exports.decide(export_id, "undone") is undone


async def test_all_that_was_switched_off_is_found(heart: Heart) -> None:
    """However much it is; what was only about to be is found as well, and what was dropped is not."""
    exports, export_id = StoredExports(heart.store), new_id("exp")
    await exports.begin(export_id, NOW)
    several = [new_id("con") for _ in range(1_200)]
    await asyncio.gather(*(exports.note(export_id, each, at=NOW) for each in several[1:]))
    await exports.note(export_id, several[0])
    await exports.drop(export_id, several[1])
    found = [each async for some in exports.switched_off(export_id) for each in some]
    assert sorted(set(found)) == sorted({*several} - {several[1]})
    assert await exports.did_switch_off([new_id("exp"), export_id], several[2], NOW)
    assert not await exports.did_switch_off([export_id], several[2], NOW + 1)
    assert not await exports.did_switch_off([export_id], several[0], NOW)


async def test_what_ended_long_ago_is_forgotten(heart: Heart, raw_store: redis.Redis) -> None:
    """The note goes by itself, and then its place on the list; one that is just beginning keeps its place."""
    exports, export_id = StoredExports(heart.store), new_id("exp")
    await exports.begin(export_id, NOW)
    assert raw_store.pttl(names.export(export_id)) == -1
    await exports.close(export_id)
    assert 0 < raw_store.pttl(names.export(export_id)) <= KEPT
    raw_store.delete(names.export(export_id))
    assert await exports.all(NOW + DAY - 1) == []
    assert raw_store.zcard(names.EXPORTS) == 1
    assert await exports.all(NOW + DAY) == []
    assert raw_store.zcard(names.EXPORTS) == 0
