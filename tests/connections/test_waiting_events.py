"""How many events wait, as the metrics say; and what else keeps its turn where one key is not what it should be."""

import asyncio
from collections.abc import Iterable

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.bookkeeping import Bookkeeping
from broker.errors import StoreUnavailable
from broker.models.ids import bucket_of
from broker.observe import metrics
from broker.observe.sink import Sink
from broker.vault import names
from tests.journey import MakeClient
from tests.waiting import eventually
from tests.world import Person, ServiceClient


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client, heart: Heart) -> ServiceClient:
    """A backend with every scope, whose making is settled."""
    app = await make_client()
    await heart.bookkeeping.settle_all()
    return app


@pytest.fixture
async def connection_id(app: ServiceClient, http: httpx2.AsyncClient, heart: Heart) -> str:
    """A connection whose making is settled."""
    connection_id = str((await app.connect(Person(http)))["id"])
    await heart.bookkeeping.settle_all()
    return connection_id


def waiting() -> float:
    """``broker_events_waiting``."""
    [family] = metrics.events_waiting.collect()
    return family.samples[0].value


class Stuck(Sink):
    """A sink that does not come back, or refuses."""

    def __init__(self, refuses: bool) -> None:
        super().__init__("none")
        self.refuses = refuses
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def write(self, lines: Iterable[str]) -> None:
        """Wait, or refuse."""
        if self.refuses:
            raise OSError("full")
        self.asked.set()
        await self.let_go.wait()


async def test_nothing_waits_once_it_is_settled(app: ServiceClient, connection_id: str, heart: Heart) -> None:
    """What the look has moved does not wait any more."""
    for _ in range(3):
        await app.fetch(connection_id)
    assert await heart.bookkeeping.settle_all() == 3
    assert waiting() == 0


async def test_what_cant_be_read_waits_until_somebody_looks(
    app: ServiceClient, connection_id: str, heart: Heart, raw_store: redis.Redis
) -> None:
    """Look after look; taken out, it waits no more."""
    entries = [raw_store.xadd(names.outbox(connection_id), {"e": text}) for text in (b"no event", b"[" * 200_000)]
    await app.fetch(connection_id)
    for moved in (1, 0):
        assert await heart.bookkeeping.settle_all() == moved
        assert waiting() == 2
    raw_store.xdel(names.outbox(connection_id), *entries)
    await heart.bookkeeping.settle_all()
    assert waiting() == 0


async def test_what_the_sink_does_not_take_waits(app: ServiceClient, connection_id: str, heart: Heart) -> None:
    """All of it, also what came after the look had failed once."""
    bookkeeping = Bookkeeping(heart.journal, heart.records, Stuck(refuses=True), heart.clock)
    for count in (1, 2):
        await app.fetch(connection_id)
        with pytest.raises(StoreUnavailable):
            await bookkeeping.settle_all()
        assert waiting() == count
    await heart.bookkeeping.settle_all()


async def test_what_a_look_that_hangs_holds_up_waits(app: ServiceClient, connection_id: str, heart: Heart) -> None:
    """And whatever comes meanwhile; once the look goes on, nothing does."""
    sink = Stuck(refuses=False)
    bookkeeping = Bookkeeping(heart.journal, heart.records, sink, heart.clock, long=0.01)
    await app.fetch(connection_id)
    settling = asyncio.ensure_future(bookkeeping.settle_all())
    await sink.asked.wait()
    await eventually(lambda: waiting() == 1)
    await app.fetch(connection_id)
    await eventually(lambda: waiting() == 2)
    sink.let_go.set()
    assert await settling == 1
    assert waiting() == 0
    await heart.bookkeeping.settle_all()


async def test_with_the_store_gone_what_was_read_waits(
    app: ServiceClient, connection_id: str, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many there are can't be asked; those that the look had read are known."""
    await app.fetch(connection_id)

    async def gone(*_: object) -> None:
        raise StoreUnavailable("the store can't be reached")

    with monkeypatch.context() as patch:
        patch.setattr(heart.journal, "move", gone)
        patch.setattr(heart.journal, "waiting", gone)
        with pytest.raises(StoreUnavailable):
            await heart.bookkeeping.settle_all()
    assert waiting() == 1
    await heart.bookkeeping.settle_all()


async def test_a_look_that_is_cancelled_ends(app: ServiceClient, connection_id: str, heart: Heart) -> None:
    """And the next one finds everything where it was."""
    sink = Stuck(refuses=False)
    bookkeeping = Bookkeeping(heart.journal, heart.records, sink, heart.clock)
    await app.fetch(connection_id)
    settling = asyncio.ensure_future(bookkeeping.settle_all())
    await sink.asked.wait()
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    sink.let_go.set()
    assert await bookkeeping.settle_all() == 1


async def test_an_outbox_that_is_none_holds_up_nothing_else(
    app: ServiceClient, connection_id: str, heart: Heart, raw_store: redis.Redis
) -> None:
    """The others are settled, and the record can be read."""
    other = (bucket_of(connection_id) + 1) % len(names.buckets())
    raw_store.set(names.bucket_outbox(other), "no stream")
    await app.fetch(connection_id)
    assert await heart.bookkeeping.settle_all() == 1
    assert await heart.journal.waiting(names.buckets()) == {}
    assert (await app.call("GET", "/v1/events")).status_code == 200
    assert raw_store.get(names.bucket_outbox(other)) == b"no stream"


async def test_a_due_set_that_is_none_holds_up_nothing_else(
    app: ServiceClient, connection_id: str, heart: Heart, raw_store: redis.Redis
) -> None:
    """The others are seen and claimed."""
    mine = bucket_of(connection_id)
    other = (mine + 1) % len(names.buckets())
    raw_store.set(names.bucket_due(other), "no set")
    now = heart.clock() + 10**10
    assert list(await heart.due.waiting(now=now)) == [mine]
    assert await heart.due.claim(other, now=now, hidden_for=1000, count=10) == []
    assert await heart.due.claim(mine, now=now, hidden_for=1000, count=10)
    assert raw_store.get(names.bucket_due(other)) == b"no set"


async def test_a_store_that_refuses_for_another_reason_is_told_of(
    connection_id: str, heart: Heart, raw_store: redis.Redis
) -> None:
    """What is passed over is a key of another type, and nothing else."""
    raw_store.acl_setuser("default", enabled=True, nopass=True, commands=["-xlen", "-zcount"])
    try:
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            await heart.journal.waiting([bucket_of(connection_id)])
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            await heart.due.waiting(now=heart.clock())
    finally:
        raw_store.acl_setuser("default", enabled=True, nopass=True, commands=["+xlen", "+zcount"])
