"""The events sink: a JSON line each, in a file that is nobody else's business, and no stall that spreads."""

import fcntl
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.observe.sink import Sink
from tests.observe.stalled_sink import LINES


async def test_a_file_is_made_for_its_owner_alone_and_appended_to(tmp_path: Path) -> None:
    """Events name subjects: the file is 0600, and lines are added at its end."""
    path = tmp_path / "events.jsonl"
    sink = Sink(f"file:{path}")
    await sink.write(['{"id":"evt_1"}', '{"id":"evt_2"}'])
    await sink.write(['{"id":"evt_3"}'])
    assert path.read_text() == '{"id":"evt_1"}\n{"id":"evt_2"}\n{"id":"evt_3"}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_nothing_to_write_makes_no_file(tmp_path: Path) -> None:
    """An idle broker leaves no empty file behind."""
    path = tmp_path / "events.jsonl"
    await Sink(f"file:{path}").write([])
    with pytest.raises(FileNotFoundError):
        path.read_text()


async def test_standard_output_gets_the_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """``stdout`` is for collectors of container logs."""
    await Sink("stdout").write(["{}", "{}"])
    assert capfd.readouterr().out == "{}\n{}\n"


async def test_none_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """``none`` is the default."""
    await Sink("none").write(["{}"])
    assert capfd.readouterr().out == ""


def test_what_can_be_written_has_no_obstacle(tmp_path: Path) -> None:
    """A file that is there or can be made, a pipe that is read; to look makes nothing and writes nothing."""
    file, pipe = tmp_path / "events.jsonl", tmp_path / "collector"
    assert Sink(f"file:{file}").obstacle() is None
    assert not file.exists()
    file.write_text("{}\n")
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as collector:
        for target in ("none", "stdout", f"file:{file}", f"file:{pipe}"):
            assert Sink(target).obstacle() is None
        assert not collector.read()
    assert file.read_text() == "{}\n"


def test_what_cant_be_written_is_seen_without_waiting(tmp_path: Path) -> None:
    """Nor does a pipe hang whoever looks that nobody reads, or whose reader has stalled."""
    pipe = tmp_path / "collector"
    os.mkfifo(pipe)
    assert Sink(f"file:{pipe}").obstacle() == "nobody reads it"
    with os.fdopen(os.open(pipe, os.O_RDWR | os.O_NONBLOCK), "r+b", buffering=0) as stalled:
        while stalled.write(b"\0" * 65_536):
            pass
        assert Sink(f"file:{pipe}").obstacle() == "its reader has stalled"
    assert Sink(f"file:{tmp_path}/no/such").obstacle() == "its folder is not there"
    assert Sink(f"file:{tmp_path}").obstacle() == "is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_what_is_closed_to_this_user_is_seen(tmp_path: Path) -> None:
    """A folder in which it may make nothing, and a file that it may not write."""
    file = tmp_path / "events.jsonl"
    tmp_path.chmod(0o500)
    assert Sink(f"file:{file}").obstacle() == "nothing may be made in its folder"
    tmp_path.chmod(0o700)
    file.touch(0o400)
    assert Sink(f"file:{file}").obstacle() == "permission denied"


@contextmanager
def a_full_disk(at: int) -> Iterator[None]:
    """No file of this process gets longer than ``at`` bytes."""
    before, at_most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, at_most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, at_most))


async def test_what_follows_half_a_line_begins_a_new_one(tmp_path: Path) -> None:
    """A disk that is full in the middle of a line: what is written again afterwards is whole, each line of it."""
    path = tmp_path / "events.jsonl"
    sink = Sink(f"file:{path}")
    lines = [json.dumps({"id": f"evt_{number}"}) for number in range(3)]
    await sink.write(lines[:1])
    with a_full_disk(at=len(lines[0]) + 5), pytest.raises(OSError, match="too large"):
        await sink.write(lines[1:])
    await sink.write(lines[1:])
    assert path.read_text().splitlines() == [lines[0], lines[1][:4], *lines[1:]]


async def test_half_a_line_that_somebody_else_left_is_left_alone(tmp_path: Path) -> None:
    """By a process that crashed, or another worker: nothing of it is taken back, and nothing is added to it."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":"evt_1"}\n{"id":"ev')
    await Sink(f"file:{path}").write(["{}"])
    assert path.read_text() == '{"id":"evt_1"}\n{"id":"ev\n{}\n'


async def test_a_file_that_may_only_be_appended_to_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its last line is whole can't be seen: each batch begins a line of its own, so that none gets lost."""
    path, really = tmp_path / "events.jsonl", Path.open

    def opened(asked: Path, *more: Any) -> Any:
        if asked == path:
            raise PermissionError(13, "Permission denied")
        return really(asked, *more)

    sink = Sink(f"file:{path}")
    with monkeypatch.context() as patched:  # the tests may run as root, who may read everything
        patched.setattr(Path, "open", opened)
        for line in ('{"id":1}', '{"id":2}'):
            await sink.write([line])
    assert path.read_text().split() == ['{"id":1}', '{"id":2}']


async def test_a_lock_on_the_file_holds_nothing_up(tmp_path: Path) -> None:
    """Whoever may read a file can lock it."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":1}\n')
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        await Sink(f"file:{path}").write(['{"id":2}'])
        assert file.read().split() == ['{"id":1}', '{"id":2}']


async def test_half_a_line_on_standard_output_is_ended_first(tmp_path: Path) -> None:
    """There nobody can look at what was written; the sink remembers that it may not have been all."""
    path, sink = tmp_path / "collected", Sink("stdout")
    with redirected(path):
        with a_full_disk(at=4), pytest.raises(OSError, match="too large"):
            await sink.write(['{"id":1}'])
        await sink.write(['{"id":1}'])
        await sink.write(['{"id":2}'])
    assert path.read_text() == '{"id\n{"id":1}\n{"id":2}\n'


@contextmanager
def redirected(path: Path) -> Iterator[None]:
    """The process's standard output is this file."""
    before = os.dup(1)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def stalled(patience: float) -> "subprocess.Popen[str]":
    """A process that writes events to a pipe that nobody reads."""
    command = [sys.executable, "-m", "tests.observe.stalled_sink", str(patience)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_stalled_collector_holds_up_nobody_else() -> None:
    """The process goes on with everything else; once the collector reads, it gets all lines in their order."""
    with stalled(patience=600) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "others go on\n"
            printed, answers = process.communicate(timeout=60)
        finally:
            process.kill()
    assert printed.splitlines() == [f"{number:01000}" for number in range(2 * LINES)]
    assert answers.splitlines() == ["None", "None"]


def test_a_stalled_collector_is_waited_for_only_so_long() -> None:
    """The events count as not written, a second write is not even begun, and the process can end."""
    with stalled(patience=0.2) as process:
        try:
            assert process.wait(timeout=60) == 0
            _, answers = process.communicate()
        finally:
            process.kill()
    said = answers.splitlines()
    assert said[0] == "others go on"
    assert said[1] == "TimeoutError(110, 'a write takes more than 0.2 s')"
    assert said[2:] == ["TimeoutError(110, 'an earlier write has not ended')"]


async def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The caller learns of it: an event counts as written only when it is."""
    with pytest.raises(OSError, match="No such file"):
        await Sink(f"file:{tmp_path}/missing/events.jsonl").write(["{}"])


def test_another_target_is_refused() -> None:
    """There are three targets."""
    with pytest.raises(ValueError, match="none, stdout or file:PATH"):
        Sink("syslog")
