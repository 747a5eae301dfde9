"""What a command does with events: the sink of a broker that runs misses none, and no line mixes into the answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.errors import StoreUnavailable
from broker.models.event import Event
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.journal import Journal
from tests.connections.moving.taking_in import key_row, silent, take
from tests.waiting import LoopTime
from tests.world import FakeClock

MakeCommand = Callable[[str], Heart]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Of a broker that writes events to a file, too."""
    return settings.model_copy(update={"events_sink": f"file:{tmp_path}/brokers"})


@pytest.fixture
async def broker(heart: Heart) -> Heart:
    """One that runs."""
    await heart.replicas.beat()
    return heart


@pytest.fixture
async def command(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[MakeCommand]:
    """``command(sink)``: the parts of a command in whose shell that sink is named."""
    async with AsyncExitStack() as made:

        def make(sink: str) -> Heart:
            theirs = settings.model_copy(update={"events_sink": sink})
            heart = build_heart(theirs, providers, clock, for_command=True)
            made.push_async_callback(heart.aclose, work_ends_within=2)
            return heart

        yield make


async def noted(heart: Heart) -> Event:
    """An event that waits in an outbox."""
    event = Event("x.noted", "default", heart.clock(), "con_" + "0" * 22)
    await heart.journal.note(event)
    return event


async def recorded(heart: Heart) -> list[str]:
    """The types of the events on record, newest first."""
    return [event.type for _, event in await heart.journal.of_tenant("default", None, 100)]


def told(tmp_path: Path, sink: str = "brokers") -> list[str]:
    """The types of the events that the sink's file has."""
    file = tmp_path / sink
    return [json.loads(line)["type"] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("sink", ["none", "stdout", "file"])
async def test_while_a_broker_runs_events_are_left_to_it(
    broker: Heart, command: MakeCommand, tmp_path: Path, sink: str
) -> None:
    """Whatever the shell says: its sink is what has to see them."""
    at_shell = command(f"file:{tmp_path}/shells" if sink == "file" else sink)
    event = await noted(broker)
    assert await at_shell.bookkeeping.settle_all() == 0
    await at_shell.bookkeeping.settle_connection(str(event.connection_id))
    assert await recorded(broker) == []
    assert await broker.bookkeeping.settle_all() == 1
    assert told(tmp_path) == ["x.noted"]
    assert told(tmp_path, "shells") == []


@pytest.mark.parametrize("of_one", [True, False])
async def test_a_command_that_shows_events_waits_until_the_broker_has_moved_them(
    broker: Heart, command: MakeCommand, monkeypatch: pytest.MonkeyPatch, of_one: bool
) -> None:
    """Those that were there when it began; what comes later is not waited for."""
    at_shell, looked, held = command("none"), asyncio.Event(), Journal.held

    async def watched(journal: Journal, newest: Mapping[int, bytes | str]) -> dict[int, bytes | str]:
        looked.set()
        return await held(journal, newest)

    monkeypatch.setattr(Journal, "held", watched)
    event = await noted(broker)
    bringing_in = asyncio.create_task(at_shell.bookkeeping.bring_in(event.connection_id if of_one else None))
    await looked.wait()
    assert await broker.bookkeeping.settle_all() == 1
    await noted(broker)
    assert await bringing_in == 0
    assert await recorded(broker) == ["x.noted"]


async def test_a_command_waits_for_a_stalled_sink_only_for_a_moment(
    broker: Heart, command: MakeCommand, loop_time: LoopTime
) -> None:
    """It says how many events are left, and goes on."""
    await noted(broker)
    await noted(broker)
    assert await loop_time.hurry(command("none").bookkeeping.bring_in(), seconds=1) == 2
    assert await recorded(broker) == []


async def test_where_no_broker_runs_a_command_settles_itself(
    heart: Heart, command: MakeCommand, tmp_path: Path
) -> None:
    """With the sink that its shell names."""
    await noted(heart)
    assert await command(f"file:{tmp_path}/shells").bookkeeping.bring_in() == 0
    assert (await recorded(heart), told(tmp_path, "shells")) == (["x.noted"], ["x.noted"])
    await noted(heart)
    assert await command("none").bookkeeping.settle_all() == 1
    assert told(tmp_path) == []


async def test_standard_output_is_for_the_answer(
    heart: Heart, command: MakeCommand, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where that is the sink, and no broker runs, lines wait for the next one."""
    at_shell, event = command("stdout"), await noted(heart)
    assert await at_shell.bookkeeping.bring_in() == 1
    await at_shell.bookkeeping.enter([event])
    await at_shell.bookkeeping.tell(Event("x.told", "default", heart.clock()))
    assert capfd.readouterr().out == ""
    await heart.bookkeeping.settle_all()
    assert sorted(told(tmp_path)) == ["x.noted", "x.noted", "x.told"]


async def test_a_shells_own_sink_that_cant_be_written_is_no_fault_of_what_is_shown(
    heart: Heart, command: MakeCommand, tmp_path: Path
) -> None:
    """What the record has can be shown; whoever needs the events moved is told."""
    await noted(heart)
    at_shell = command(f"file:{tmp_path}/no/such/folder")
    assert await at_shell.bookkeeping.bring_in() == 1
    with pytest.raises(StoreUnavailable, match="sink"):
        await at_shell.bookkeeping.settle_all()


async def test_the_brokers_sink_is_told_of_an_import_and_of_its_rollback(
    broker: Heart, command: MakeCommand, raw_store: redis.Redis, tmp_path: Path
) -> None:
    """The record has the import at once, and nothing of it after the rollback, whenever the broker gets to it."""
    at_shell = command("none")
    report = await take(at_shell, [key_row(1), key_row(2)], verify=False)
    assert await recorded(broker) == ["connection.created"] * 2
    await at_shell.moving.rollbacks.roll_back(str(report.batch), silent, force=False)
    assert await broker.bookkeeping.settle_all() == 3
    assert sorted(told(tmp_path)) == ["connection.created"] * 2 + ["import.rolled_back"]
    assert not raw_store.exists(names.journal("default"))
