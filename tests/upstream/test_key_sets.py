"""Published key sets over HTTP: sharing, caching, rotation, and what an address that is silent costs."""

import asyncio

import pytest

from broker.errors import NotSent, ProviderError
from broker.upstream.key_sets import KEPT_AT_MOST, LOOKED_AGAIN_EVERY, PAUSE, TIME_TO_LIVE, KeySets
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import Asked, PracticeServer, json_answer, raw_answer
from tests.upstream.publishing import (
    OPENID,
    RFC8414,
    Names,
    Time,
    anything,
    at,
    issuer,
    key_sets,
    named,
    published,
    time,
    to_hang,
)
from tests.waiting import LoopTime, eventually

__all__ = ["key_sets", "time"]


async def test_a_set_is_fetched_once_and_kept_for_ten_minutes(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """A key that is withdrawn counts no longer than that."""  # S13
    server.answers["/jwks"] = published("a", "b")
    assert await anything(key_sets, at(server)) == ("a", "b")
    server.answers["/jwks"] = published("b")
    time.now += TIME_TO_LIVE - 1
    assert await anything(key_sets, at(server)) == ("a", "b")
    assert len(server.asked) == 1
    time.now += 1
    assert await anything(key_sets, at(server)) == ("b",)
    assert len(server.asked) == 2
    assert TIME_TO_LIVE == 600_000
    time.now -= 1
    await anything(key_sets, at(server))
    assert len(server.asked) == 3


async def test_a_new_key_is_looked_for_at_once_and_made_up_ones_are_not(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """A flood of names that nobody published asks once in half a minute, however many at the same time."""
    server.answers["/jwks"] = published("a")
    await anything(key_sets, at(server))
    time.now += LOOKED_AGAIN_EVERY
    server.answers["/jwks"] = published("a", "b")
    assert await named(key_sets, at(server), "b") == ("a", "b")
    assert len(server.asked) == 2
    for moment in range(3):
        time.now += 1
        assert await asyncio.gather(*(named(key_sets, at(server), f"x{n}") for n in range(100))) == [("a", "b")] * 100
        assert len(server.asked) == 2, moment
    time.now += LOOKED_AGAIN_EVERY - 4
    await named(key_sets, at(server), "x")
    assert len(server.asked) == 2
    time.now += 1
    await asyncio.gather(*(named(key_sets, at(server), f"x{n}") for n in range(100)))
    assert len(server.asked) == 3


async def test_a_copy_serves_while_its_address_is_silent_but_not_for_ever(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """Asked again after each pause; after an hour the copy is worth nothing."""  # P1
    server.answers["/jwks"] = published("a")
    await anything(key_sets, at(server))
    time.now += TIME_TO_LIVE
    for failure in (raw_answer(500), raw_answer(429), raw_answer(503), b""):
        server.answers["/jwks"] = failure
        before = len(server.asked)
        assert await anything(key_sets, at(server)) == ("a",)
        assert await anything(key_sets, at(server)) == ("a",)
        assert len(server.asked) == before + 1
        time.now += PAUSE
    time.now = NOW + KEPT_AT_MOST - 1
    assert await anything(key_sets, at(server)) == ("a",)
    time.now += 1
    with pytest.raises(NotSent):
        await anything(key_sets, at(server))
    server.answers["/jwks"] = published("b")
    time.now += PAUSE
    assert await anything(key_sets, at(server)) == ("b",)
    assert KEPT_AT_MOST == 3_600_000


@pytest.mark.parametrize("answer", [raw_answer(200, b"<html>"), json_answer({}), json_answer({"keys": None})])
async def test_what_is_no_key_set_says_nothing(
    server: PracticeServer, key_sets: KeySets[Names], time: Time, answer: bytes
) -> None:
    """A proxy's error page, say, or half a deployment: it counts as silence, and the copy serves on."""
    server.answers["/jwks"] = published("a")
    await anything(key_sets, at(server))
    server.answers["/jwks"] = answer
    time.now += TIME_TO_LIVE
    assert await anything(key_sets, at(server)) == ("a",)


@pytest.mark.parametrize("answer", [raw_answer(404), raw_answer(410), raw_answer(302)])
async def test_keys_that_are_gone_are_gone(
    server: PracticeServer, key_sets: KeySets[Names], time: Time, answer: bytes
) -> None:
    """Silence leaves the copy; an answer that nothing stands there takes it away."""  # S13
    server.answers["/jwks"] = published("a")
    await anything(key_sets, at(server))
    server.answers["/jwks"] = answer
    time.now += TIME_TO_LIVE
    with pytest.raises(ProviderError):
        await anything(key_sets, at(server))
    with pytest.raises(NotSent):
        await anything(key_sets, at(server))


async def test_an_empty_set_is_a_set(server: PracticeServer, key_sets: KeySets[Names]) -> None:
    """Whoever withdraws every key is believed."""
    server.answers["/jwks"] = published()
    assert await anything(key_sets, at(server)) == ()


async def test_an_address_that_fails_is_left_alone_for_a_moment(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """A flood of requests is one question in five seconds; an error lasts no longer than that."""
    server.answers["/jwks"] = raw_answer(500)
    with pytest.raises(NotSent):
        await anything(key_sets, at(server))
    server.answers["/jwks"] = published("a")
    time.now += PAUSE - 1
    for _ in range(20):
        with pytest.raises(NotSent) as refused:
            await anything(key_sets, at(server))
        assert refused.value.retry_after == 5
    assert len(server.asked) == 1
    time.now += 1
    assert await anything(key_sets, at(server)) == ("a",)


async def test_callers_share_one_request(server: PracticeServer, key_sets: KeySets[Names]) -> None:
    """Many at once are one request; who gives up takes nothing from the others."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go_on.wait()
        writer.write(published("a"))
        await writer.drain()

    server.answers["/jwks"] = slow
    callers = [asyncio.create_task(named(key_sets, at(server), f"{n}")) for n in range(20)]
    await arrived.wait()
    callers[0].cancel()
    go_on.set()
    given_up, *answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(given_up, asyncio.CancelledError)
    assert answers == [("a",)] * 19
    assert len(server.asked) == 1


async def test_a_silent_address_is_not_waited_for_long(
    server: PracticeServer, key_sets: KeySets[Names], time: Time, loop_time: LoopTime
) -> None:
    """Five seconds where there is no copy, two where there is one."""  # P1
    server.answers["/jwks"] = to_hang()
    asking = asyncio.create_task(anything(key_sets, at(server)))
    await eventually(lambda: len(server.asked) == 1)
    loop_time.advance(seconds=5)
    with pytest.raises(NotSent, match="too long"):
        await asking
    server.answers["/other"] = published("a")
    await anything(key_sets, at(server, "/other"))
    server.answers["/other"] = to_hang()
    time.now += TIME_TO_LIVE
    asking = asyncio.create_task(anything(key_sets, at(server, "/other")))
    await eventually(lambda: len(server.asked) == 3)
    loop_time.advance(seconds=2)
    assert await asking == ("a",)


async def test_so_many_sets_are_fetched_at_once_and_no_more(
    server: PracticeServer, key_sets: KeySets[Names], time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond, a source is refused at once; who joins a fetch isn't, nor who is content with the copy."""  # F8
    monkeypatch.setattr("broker.upstream.key_sets._MAX_RUNNING", 2)
    server.answers["/known"] = published("a")
    await anything(key_sets, at(server, "/known"))
    time.now += TIME_TO_LIVE
    arrived = {path: asyncio.Event() for path in ("/1", "/2")}
    for path, event in arrived.items():
        server.answers[path] = to_hang(event)
    waiting = [asyncio.create_task(anything(key_sets, at(server, path))) for path in ("/1", "/2", "/1", "/2")]
    await asyncio.gather(*(event.wait() for event in arrived.values()))
    asked = len(server.asked)
    with pytest.raises(NotSent, match="too many") as refused:
        await anything(key_sets, at(server, "/3"))
    assert refused.value.retry_after == 1
    assert await anything(key_sets, at(server, "/known")) == ("a",)
    assert len(server.asked) == asked
    await key_sets.aclose()
    await asyncio.gather(*waiting, return_exceptions=True)
    server.answers["/3"] = published("b")
    assert await anything(key_sets, at(server, "/3")) == ("b",)


async def test_a_failure_is_told_once_for_each_look(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """Not by those who join it or come a moment later; and also where the copy is served in its place."""
    told: list[str] = []

    async def ask(path: str) -> None:
        await key_sets.keys(at(server, path), lambda _: True, lambda error: told.append(error.detail))

    server.answers["/down"] = raw_answer(500)
    await asyncio.gather(*(ask("/down") for _ in range(10)), return_exceptions=True)
    for _ in range(10):
        with pytest.raises(NotSent):
            await ask("/down")
    assert len(told) == 1
    time.now += PAUSE
    with pytest.raises(NotSent):
        await ask("/down")
    assert len(told) == 2
    server.answers["/jwks"] = published("a")
    await ask("/jwks")
    assert len(told) == 2
    time.now += TIME_TO_LIVE
    server.answers["/jwks"] = raw_answer(503)
    for _ in range(3):
        await ask("/jwks")
    assert len(told) == 3


async def test_closing_ends_what_is_under_way(server: PracticeServer, key_sets: KeySets[Names]) -> None:
    """Nobody is left waiting."""
    arrived = asyncio.Event()
    server.answers["/jwks"] = to_hang(arrived)
    caller = asyncio.create_task(anything(key_sets, at(server)))
    await arrived.wait()
    await key_sets.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_many_sources_do_not_fill_the_memory(
    server: PracticeServer, key_sets: KeySets[Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ones that were not used for longest are forgotten, those that failed as well."""
    monkeypatch.setattr("broker.upstream.key_sets._MAX_SOURCES", 2)
    for path in ("/a", "/b", "/a", "/c"):
        server.answers[path] = published(path)
        await anything(key_sets, at(server, path))
    await anything(key_sets, at(server, "/a"))
    assert [asked.target for asked in server.asked] == ["/a", "/b", "/c"]
    with pytest.raises(ProviderError):
        await anything(key_sets, at(server, "/d"))
    assert len(key_sets._known) == 2
    await anything(key_sets, at(server, "/c"))
    assert [asked.target for asked in server.asked] == ["/a", "/b", "/c", "/d", "/c"]


async def test_an_issuer_can_move_its_keys(server: PracticeServer, key_sets: KeySets[Names], time: Time) -> None:
    """Its metadata are asked for anew with the keys, so no copy of them leads to a place that is no more."""
    server.answers[OPENID] = json_answer({"issuer": server.origin, "jwks_uri": f"{server.origin}/old"})
    server.answers["/old"] = published("a")
    assert await anything(key_sets, issuer(server)) == ("a",)
    server.answers[OPENID] = json_answer({"issuer": server.origin, "jwks_uri": f"{server.origin}/new"})
    server.answers["/new"] = published("b")
    del server.answers["/old"]
    time.now += LOOKED_AGAIN_EVERY
    assert await named(key_sets, issuer(server), "b") == ("b",)


async def test_an_issuer_that_fails_is_left_alone_for_a_moment(
    server: PracticeServer, key_sets: KeySets[Names], time: Time
) -> None:
    """Its well-known places are not asked for each request, either."""
    server.answers[OPENID] = server.answers[RFC8414] = raw_answer(500)
    for _ in range(10):
        with pytest.raises(NotSent):
            await anything(key_sets, issuer(server))
    assert len(server.asked) == 2
    time.now += PAUSE
    with pytest.raises(NotSent):
        await anything(key_sets, issuer(server))
    assert len(server.asked) == 4
