"""Floods of what operators ask: the store gets one question at a time, and metrics are written so often and no more."""

import asyncio
from collections.abc import Sequence

import httpx2
import pytest
import redis

from broker.app import operations
from broker.app.operations import Exposition, Readiness


class Store:
    """A store that is asked whether it is fit, and answers when told."""

    def __init__(self) -> None:
        self.asked = 0
        self.reasons: Sequence[str] = ()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self) -> Sequence[str]:
        """Why it is not fit."""
        self.asked += 1
        await self.may_answer.wait()
        return self.reasons


@pytest.fixture
async def store() -> Store:
    """A store that is fit."""
    return Store()


@pytest.fixture
def readiness(store: Store) -> Readiness:
    """What asks it."""
    return Readiness(store)


async def test_all_who_ask_at_a_moment_share_one_question(store: Store, readiness: Readiness) -> None:
    """A thousand callers, one look."""  # F8
    store.may_answer.clear()
    asking = [asyncio.create_task(readiness.reasons()) for _ in range(1000)]
    await asyncio.sleep(0)
    store.may_answer.set()
    assert await asyncio.gather(*asking) == [()] * 1000
    assert store.asked == 1


async def test_that_it_is_ready_is_known_for_a_second(
    store: Store, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is asked again."""  # F8
    for _ in range(100):
        assert not await readiness.reasons()
    assert store.asked == 1
    monkeypatch.setattr(operations, "_READY_FOR", 0)
    aged = Readiness(store)
    for _ in range(2):
        assert not await aged.reasons()
    assert store.asked == 3


async def test_that_it_is_not_ready_is_not_remembered(store: Store, readiness: Readiness) -> None:
    """Nor taken for ready; who mended the store sees so at once."""
    store.reasons = ["appendonly yes is needed"]
    for _ in range(2):
        assert await readiness.reasons() == ["appendonly yes is needed"]
    store.reasons = ()
    assert not await readiness.reasons()


async def test_who_hangs_up_takes_the_answer_from_nobody(store: Store, readiness: Readiness) -> None:
    """The first caller's question goes on for those who joined it."""
    store.may_answer.clear()
    first, second = (asyncio.create_task(readiness.reasons()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    store.may_answer.set()
    assert await second == ()
    assert store.asked == 1


async def test_a_look_that_fails_is_not_the_last(store: Store) -> None:
    """Whoever asks next looks again."""
    looks = [ZeroDivisionError("planted")]

    async def failing() -> Sequence[str]:
        if looks:
            raise looks.pop()
        return await store()

    failed = Readiness(failing)
    with pytest.raises(ZeroDivisionError):
        await failed.reasons()
    assert not await failed.reasons()


async def test_a_flood_of_readyz_asks_the_store_once(http: httpx2.AsyncClient, raw_store: redis.Redis) -> None:
    """As the store itself counts it."""  # F8
    await http.get("/readyz")
    raw_store.config_resetstat()
    answers = await asyncio.gather(*(http.get("/readyz") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert raw_store.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"] <= 1


async def test_in_a_flood_the_latest_metrics_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing them takes milliseconds of the process that serves everybody; a second later they are written anew."""
    # F8
    written = iter(range(1_000))
    exposed = Exposition(lambda: b"%d" % next(written))
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    assert [exposed.text() for _ in range(8)] == [b"0", b"1", b"2", b"3", b"4", b"4", b"4", b"4"]
    monkeypatch.setattr(loop, "time", lambda: now + 1)
    assert [exposed.text() for _ in range(7)] == [b"5", b"6", b"7", b"8", b"9", b"9", b"9"]
