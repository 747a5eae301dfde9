"""Reading files of tests."""

import io
from pathlib import Path
from typing import Any

from broker.connections.moving.formats import ReadOptions, reader
from broker.connections.moving.row import Row, RowFault

SAMPLES = Path(__file__).parent / "samples"


def read(content: bytes | str, *, name: str | None = None, **options: Any) -> list[Row | RowFault]:
    """The rows and faults of a file, in whichever format it shows."""
    content = content.encode() if isinstance(content, str) else content
    found = reader(name, content[:4096]).read(io.BytesIO(content), ReadOptions(**options))
    return list(found)


def rows(content: bytes | str, **options: Any) -> list[Row]:
    """The same, where nothing is wrong."""
    found = read(content, **options)
    assert [each for each in found if isinstance(each, RowFault)] == []
    return [each for each in found if isinstance(each, Row)]


def faults(content: bytes | str, **options: Any) -> list[tuple[int, str, str]]:
    """What is wrong: number, field and message each."""
    found = read(content, **options)
    return [(each.number, each.field, each.message) for each in found if isinstance(each, RowFault)]


def sample(name: str) -> bytes:
    """A file such as somebody would bring."""
    return (SAMPLES / name).read_bytes()
