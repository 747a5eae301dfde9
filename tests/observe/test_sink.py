"""The events sink: a JSON line each, in a file that is nobody else's business."""

import stat
from pathlib import Path

import pytest

from broker.observe.sink import Sink


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


async def test_standard_output_gets_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """``stdout`` is for collectors of container logs."""
    await Sink("stdout").write(["{}", "{}"])
    assert capsys.readouterr().out == "{}\n{}\n"


async def test_none_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """``none`` is the default."""
    await Sink("none").write(["{}"])
    assert capsys.readouterr().out == ""


async def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The caller learns of it: an event counts as written only when it is."""
    with pytest.raises(OSError, match="No such file"):
        await Sink(f"file:{tmp_path}/missing/events.jsonl").write(["{}"])


def test_another_target_is_refused() -> None:
    """There are three targets."""
    with pytest.raises(ValueError, match="none, stdout or file:PATH"):
        Sink("syslog")
