"""What stands in line for its provider: the next one goes as soon as there is a place, whoever waited for too long is
left alone, and nothing is lost or done twice when a replica stops in the middle."""

import asyncio
from functools import partial
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.background import lanes, refreshing
from broker.background.refreshing import RefreshAhead
from broker.connections import schedule
from broker.errors import StoreUnavailable
from broker.models.connection import Connection, Credential
from broker.providers import Provider
from broker.vault.due import Entry
from tests.background.ahead import apps_own, chore_of, crash, due_at, generations, work_off
from tests.background.counting import FRESH, Counting, asked, providers, server
from tests.upstream.practice_server import Asked, PracticeServer
from tests.waiting import eventually
from tests.world import FakeClock

__all__ = ["providers", "server"]


@pytest.fixture(autouse=True)
def long_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that nothing is known of holds all that these tests put in line."""
    monkeypatch.setattr(lanes, "_UNKNOWN", 20)


class OneByOne(Counting):
    """Answers one request each time it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Wait to be told, and answer."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self._turns.acquire()
        self.inside -= 1
        self.answered += 1
        writer.write(FRESH)
        await writer.drain()

    def stands_at(self, *, inside: int, answered: int) -> bool:
        """Whether so many wait, and so many have had their answer."""
        return (self.inside, self.answered) == (inside, answered)

    def answer_one(self) -> None:
        """Let one of those that wait have its answer, or the next one that comes."""
        self._turns.release()


async def test_a_place_that_becomes_free_is_taken_without_another_look(heart: Heart, server: PracticeServer) -> None:
    """One look and three steps find all twenty; from then on each answer brings the next request."""  # F7
    endpoint = OneByOne()
    server.answers["/token"] = endpoint
    ids = await apps_own(heart, 20)
    ahead = RefreshAhead(heart.due, heart.records, heart.refresher, heart.providers, heart.clock)
    begun = 0
    while begun < 20:
        begun += await ahead.step()
    for done in range(18):
        await eventually(partial(endpoint.stands_at, inside=3, answered=done))
        endpoint.answer_one()
    for _ in range(2):
        endpoint.answer_one()
    await ahead.finish()
    assert await generations(heart, ids) == {2}
    assert endpoint.most == 3


async def test_who_stood_in_line_for_too_long_is_due_again_at_once(
    heart: Heart, ahead: RefreshAhead, replica: Heart, server: PracticeServer, clock: FakeClock
) -> None:
    """Their claims are about to run out, and others may have them by the time they are done: each is sent once, and
    nobody waits for the rest of a claim that nothing comes of."""  # F7
    endpoint = Counting()
    server.answers["/token"] = endpoint
    ids = await apps_own(heart, 12)
    while await ahead.step():
        pass
    await eventually(lambda: endpoint.inside == 3)
    clock.advance(seconds=61)
    endpoint.go.set()
    await ahead.finish()
    assert asked(server) == 3
    assert await work_off(chore_of(replica)) == 9
    assert asked(server) == 12
    assert await generations(heart, ids) == {2}


async def test_what_stands_in_line_when_a_replica_stops_is_due_again_at_once(
    heart: Heart, ahead: RefreshAhead, replica: Heart, server: PracticeServer, raw_store: redis.Redis
) -> None:
    """What is under way is finished and stored, the rest needn't wait for claims to end, none is sent twice."""  # F3
    endpoint = Counting()
    server.answers["/token"] = endpoint
    ids = await apps_own(heart, 12)
    while await ahead.step():
        pass
    await eventually(lambda: endpoint.inside == 3)
    await ahead.aclose()
    assert sum((due_at(raw_store, one) or 0) <= heart.clock() for one in ids) == 9
    endpoint.go.set()
    assert await heart.refresher.drain(60) == 0
    assert asked(server) == 3
    assert await work_off(chore_of(replica)) == 9
    assert asked(server) == 12
    assert await generations(heart, ids) == {2}


async def test_what_is_claimed_while_a_replica_stops_is_due_again_at_once(
    heart: Heart, server: PracticeServer, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is given up when the store has claimed, and its answer is on its way: nothing stays hidden."""  # F3
    claim, claimed, answer = heart.due.claim, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any, **named: Any) -> list[Entry]:
        entries = await claim(*arguments, **named)
        claimed.set()
        await answer.wait()
        return entries

    monkeypatch.setattr(heart.due, "claim", slowly)
    ids = await apps_own(heart, 12)
    chore = chore_of(heart)
    step = asyncio.create_task(chore.step())
    await claimed.wait()
    step.cancel()
    await asyncio.wait([step])
    closing = asyncio.create_task(chore.aclose())
    await asyncio.sleep(0)
    answer.set()
    await closing
    assert all((due_at(raw_store, one) or 0) <= heart.clock() for one in ids)
    assert asked(server) == 0


async def test_a_claim_that_fails_loses_no_other(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bucket's store doesn't answer: what was claimed of the others is done."""  # F3
    claim, asked_of = heart.due.claim, set[int]()

    async def one_fails(bucket: int, **named: Any) -> list[Entry]:
        asked_of.add(bucket)
        if len(asked_of) == 1:
            raise StoreUnavailable("no answer")
        return await claim(bucket, **named)

    monkeypatch.setattr(heart.due, "claim", one_fails)
    ids = await apps_own(heart, 12)
    with pytest.raises(StoreUnavailable):
        await ahead.step()
    await ahead.finish()
    assert asked(server) >= 6
    assert await generations(heart, ids) == {1, 2}


async def test_three_replicas_of_which_one_crashes_refresh_each_connection_once(
    heart: Heart, ahead: RefreshAhead, replica: Heart, server: PracticeServer, clock: FakeClock
) -> None:
    """All take of the same due work, one ends in the middle with its line full: the others come to that, too."""  # F5
    endpoint = Counting()
    server.answers["/token"] = endpoint
    ids = await apps_own(heart, 60)
    others = chore_of(replica), chore_of(replica)
    for chore in (ahead, *others):
        await chore.step()
    await eventually(lambda: endpoint.inside == 4)
    await crash(ahead)
    endpoint.go.set()
    await heart.refresher.drain(5)
    await work_off(*others)
    clock.advance(seconds=90)
    await work_off(*others)
    assert endpoint.most == 4
    assert asked(server) == 60
    assert await generations(heart, ids) == {2}


async def test_no_more_is_in_hand_than_a_process_bears(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is slow to answer, what was claimed is bounded: nothing more is, until some is done."""  # F8
    monkeypatch.setattr(refreshing, "_IN_HAND", 20)
    go = asyncio.Event()
    read = heart.records.read_with_credential

    async def slowly(connection_id: str) -> tuple[Connection, Credential | None] | None:
        await go.wait()
        return await read(connection_id)

    monkeypatch.setattr(heart.records, "read_with_credential", slowly)
    ids = await apps_own(heart, 30)
    for _ in range(20):
        await ahead.step()
    assert len(ahead._working) == 20
    go.set()
    monkeypatch.setattr(refreshing, "_IN_HAND", 1024)
    ahead._lanes = lanes.Lanes(1024)
    await work_off(ahead)
    assert await generations(heart, ids) == {2}


async def test_records_are_opened_a_few_at_a_time(
    heart: Heart, ahead: RefreshAhead, server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one answer of the store brings is worked on in one go, and whoever fetches a token waits for it."""  # F7
    reading = most = 0
    read = heart.records.read_with_credential

    async def counted(connection_id: str) -> tuple[Connection, object] | None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            return await read(connection_id)
        finally:
            reading -= 1

    await apps_own(heart, 24, due_in=-1)
    monkeypatch.setattr(heart.records, "read_with_credential", counted)
    monkeypatch.setattr(schedule, "is_active", _nobody_is)
    for _ in range(3):
        await ahead.step()
    await ahead.finish()
    assert most == 4


def _nobody_is(_connection: Connection, _provider: Provider, _now: int) -> bool:
    return False
