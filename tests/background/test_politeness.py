"""Refreshing ahead and providers: never more at once than they bear, left alone when they say so, each for itself."""

import asyncio

import pytest
import redis

from broker.app.heart import Heart
from broker.background import refreshing
from broker.background.refreshing import RefreshAhead
from broker.errors import ProviderBusy, ProviderUnavailable
from broker.vault import admission
from tests.background.ahead import apps_own, chore_of, due_at, generations, stored, work_off
from tests.background.counting import FRESH, Counting, asked, providers, server
from tests.journey import MakeClient
from tests.upstream.practice_server import PracticeServer, json_answer, raw_answer
from tests.waiting import eventually
from tests.world import FakeClock

__all__ = ["providers", "server"]


@pytest.fixture(autouse=True)
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of our own choosing last a minute at least, so that none is over before it is looked at."""
    monkeypatch.setattr(admission, "_SHORTEST_PAUSE", 60_000)


def let_pauses_pass(raw_store: redis.Redis, *hearts: Heart) -> None:
    """Let every pause be over, as time does."""
    for key in raw_store.keys("broker:{gate:*:state"):
        raw_store.hset(key, mapping={"since": 0, "ends": 0})
    for heart in hearts:
        for line in heart.refresher._attempts._obtaining._turns._lines.values():
            line.paused_until = 0


async def test_all_replicas_together_keep_to_what_a_provider_bears(
    heart: Heart, replica: Heart, server: PracticeServer, clock: FakeClock
) -> None:
    """Two that refresh ahead, and twenty callers besides: four requests at once, and all get their token."""  # F7
    endpoint = Counting()
    server.answers["/token"] = endpoint
    due = await apps_own(heart, 40)
    wanted = await apps_own(heart, 20, due_in=3600)
    chores = chore_of(heart), chore_of(replica)
    for _ in range(4):
        for chore in chores:
            await chore.step()
    hearts = heart, replica
    callers = [hearts[number % 2].refresher.refresh(each, 1) for number, each in enumerate(wanted)]
    served = asyncio.gather(*callers)
    await eventually(lambda: endpoint.inside == 4)
    endpoint.go.set()
    await served
    while await work_off(*chores) or await generations(heart, due) != {2}:
        clock.advance(seconds=2)
    assert endpoint.most == 4
    assert await generations(heart, due + wanted) == {2}
    assert asked(server) == 60


async def test_who_waits_finds_a_slot_that_refreshing_ahead_leaves_free(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer
) -> None:
    """A backlog that keeps the provider busy takes three of its four."""
    endpoint = Counting()
    server.answers["/token"] = endpoint
    await apps_own(heart, 30)
    (wanted,) = await apps_own(heart, 1, due_in=3600)
    for _ in range(5):
        await ahead.step()
    await eventually(lambda: endpoint.inside == 3)
    caller = asyncio.create_task(heart.refresher.refresh(wanted, 1))
    await eventually(lambda: endpoint.inside == 4)
    endpoint.go.set()
    await caller
    await ahead.finish()


async def test_one_slow_provider_holds_up_no_other(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answers nothing at all and has the longer queue: it doesn't get all that a process has in hand, and the
    other's connections are refreshed meanwhile."""  # F7
    monkeypatch.setattr(refreshing, "_IN_HAND", 32)
    endpoint = Counting()
    server.answers["/token"] = endpoint
    stuck = await apps_own(heart, 100)
    ids = await apps_own(heart, 9, provider="other")
    async with asyncio.timeout(60):
        while await generations(heart, ids) != {2}:
            if not await ahead.step():
                await asyncio.sleep(0.01)
    assert endpoint.inside == 3
    assert await generations(heart, stuck) == {1}
    endpoint.go.set()
    await ahead.finish()


async def test_one_dead_address_of_an_entry_holds_up_no_other(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer
) -> None:
    """Where each connection has an address of its own, only the one that fails is left alone."""
    server.answers["/north"] = raw_answer(500)
    north = await apps_own(heart, 9, provider="regional", parameters={"region": "north"})
    south = await apps_own(heart, 9, provider="regional", parameters={"region": "south"})
    await work_off(ahead)
    assert await generations(heart, south) == {2}
    assert await generations(heart, north) == {1}
    assert asked(server, "/north") <= 5 + 2  # two more were under way when the fifth failed


async def test_a_provider_that_asks_for_patience_gets_it_from_everybody(
    make_client: MakeClient,
    heart: Heart,
    replica: Heart,
    server: PracticeServer,
    clock: FakeClock,
    raw_store: redis.Redis,
) -> None:
    """Nobody asks until the time that it named, and the tokens that live are served; then all are refreshed."""  # P8
    app = await make_client()
    server.answers["/token"] = raw_answer(429, headers={"retry-after": "30"})
    ids = await apps_own(heart, 20)
    chores = chore_of(heart), chore_of(replica)
    await work_off(*chores)
    before = asked(server)
    assert 1 <= before <= 4
    clock.advance(seconds=29)
    await work_off(*chores)
    for each in (heart, replica):
        with pytest.raises(ProviderBusy) as told:
            await each.refresher.refresh(ids[0], 1)
        assert told.value.retry_after is not None
        # Ten seconds more, if it was this connection that was told to wait: then others go first.
        assert 25 <= told.value.retry_after <= 41
    for connection_id in ids[:5]:
        answer = await app.fetch(connection_id, min_ttl=900)
        assert (answer.status_code, answer.json()["access_token"]) == (200, "at-old")
    assert asked(server) == before

    server.answers["/token"] = FRESH
    let_pauses_pass(raw_store, heart, replica)
    fresh_chores = chore_of(heart), chore_of(replica)
    async with asyncio.timeout(60):
        while await generations(heart, ids) != {2}:
            clock.advance(seconds=10)
            await work_off(*fresh_chores)
    assert asked(server) == before + 20


@pytest.mark.parametrize(
    "refusal",
    [json_answer({"error": "invalid_client"}, status=401), json_answer({"error": "unauthorized_client"}, status=400)],
)
async def test_an_app_that_the_provider_refuses_asks_a_few_times_and_then_seldom(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, raw_store: redis.Redis, clock: FakeClock, refusal: bytes
) -> None:
    """A wrong client secret is not tried with every connection; none is given up for it."""  # P8
    server.answers["/token"] = refusal
    ids = await apps_own(heart, 40)
    await work_off(ahead)
    assert 5 <= asked(server) <= 5 + 2
    for tries in range(1, 4):
        before = asked(server)
        let_pauses_pass(raw_store, heart)
        clock.advance(seconds=10 * tries)
        chore = chore_of(heart)
        await work_off(chore)
        assert asked(server) <= before + 1
    assert {(await stored(heart, connection_id)).status.value for connection_id in ids} == {"active"}


async def test_a_provider_that_is_down_is_left_alone_and_found_when_it_is_back(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """Five failures, and those under way; after the pause one request, which opens it for all."""
    server.answers["/token"] = raw_answer(500)
    ids = await apps_own(heart, 40)
    await work_off(ahead)
    assert 5 <= asked(server) <= 5 + 2
    with pytest.raises(ProviderUnavailable):
        await heart.refresher.refresh(ids[0], 1)
    before = asked(server)
    assert before <= 7
    server.answers["/token"] = FRESH
    let_pauses_pass(raw_store, heart)
    chore = chore_of(heart)
    async with asyncio.timeout(60):
        while await generations(heart, ids) != {2}:
            clock.advance(seconds=30)
            await work_off(chore)
    assert asked(server) == before + 40


async def test_what_found_no_place_comes_again_at_the_pace_of_the_provider(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Each at a later time than the one before: nobody comes again and again in vain."""
    endpoint = Counting()
    server.answers["/token"] = endpoint
    ids = await apps_own(heart, 60)
    while await ahead.step():
        pass
    await eventually(lambda: endpoint.inside == 3)
    hidden = clock.now + (2 * 10 + 60) * 1000
    await eventually(lambda: len([1 for each in ids if due_at(raw_store, each) == hidden]) == 9)
    later = sorted(due for each in ids if (due := due_at(raw_store, each)) is not None and due != hidden)
    assert len(later) == len(set(later)) == 51
    assert later[0] > clock.now
    assert later[-1] < clock.now + 20_000
    endpoint.go.set()
    await ahead.finish()
