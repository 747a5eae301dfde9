"""A collector that is slower than a write is waited for: it gets each line once, and the lines count in the end."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import enumerate as threads

import pytest

from broker.observe import sink as observed
from broker.observe.sink import Sink
from tests.waiting import LoopTime, eventually

LINES = [f"{number:01000}" for number in range(200)]
"""Many times what a pipe holds."""
OTHERS = [f"other{line}" for line in LINES]


class Collector:
    """The reading end of a named pipe, and the sink that writes into it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self.sink = Sink(f"file:{path}", patience=30)
        self.open()

    def open(self) -> None:
        """Be there."""
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        """Be gone: a write that is under way fails."""
        os.close(self._descriptor)

    async def read(self, lines: int) -> list[str]:
        """So many lines, as soon as they are there."""
        got = bytearray()

        def whole() -> bool:
            got.extend(self._present())
            return got.count(b"\n") >= lines

        await eventually(whole)
        return got.decode().splitlines()

    def read_nothing_more(self) -> bool:
        """Whether nothing else is there."""
        return self._present() == b""

    def _present(self) -> bytes:
        try:
            return os.read(self._descriptor, 1_000_000)
        except BlockingIOError:
            return b""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """One that reads nothing unless it is told to."""
    collector = Collector(tmp_path / "pipe")
    yield collector
    collector.close()


async def too_late(sink: Sink, lines: Sequence[str]) -> None:
    """Begin a write that nobody reads, and wait for it in vain."""
    with pytest.raises(TimeoutError, match="takes more than 30 s"):
        await LoopTime(asyncio.get_running_loop()).hurry(sink.write(lines))


async def ended() -> None:
    """Return when no write is under way."""
    await eventually(lambda: all(thread.name != "events sink" for thread in threads()))


async def test_what_ends_after_its_time_counts_and_is_not_written_again(collector: Collector) -> None:
    """Tried again while the first write goes on, and when that has ended: each line comes once."""
    await too_late(collector.sink, LINES)
    with pytest.raises(TimeoutError, match="an earlier write has not ended"):
        await collector.sink.write(LINES)
    assert await collector.read(len(LINES)) == LINES
    await ended()
    await collector.sink.write(LINES)
    assert collector.read_nothing_more()


async def test_what_came_late_counts_in_any_portion_and_once(collector: Collector) -> None:
    """New events change what is written together; what is told a second time on purpose is told."""
    await too_late(collector.sink, LINES)
    assert await collector.read(len(LINES)) == LINES
    await ended()
    await collector.sink.write(["new", *LINES[:100]])
    await collector.sink.write(LINES[100:])
    await collector.sink.write(LINES[:1])
    assert await collector.read(2) == ["new", LINES[0]]
    assert collector.read_nothing_more()


async def test_what_fails_after_its_time_is_written_again(collector: Collector) -> None:
    """Nobody knows how much of it has arrived."""
    await too_late(collector.sink, LINES)
    collector.close()
    await ended()
    collector.open()
    _, lines = await asyncio.gather(collector.sink.write(LINES), collector.read(len(LINES)))
    assert lines == LINES


async def test_what_never_comes_again_is_not_remembered_for_ever(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica has moved it: the memory that it takes here has an end."""
    monkeypatch.setattr(observed, "_REMEMBERED", 100)
    for lines in (LINES, OTHERS):
        await too_late(collector.sink, lines)
        assert await collector.read(len(lines)) == lines
        await ended()
    await collector.sink.write([*OTHERS, LINES[0]])
    assert await collector.read(1) == LINES[:1]
