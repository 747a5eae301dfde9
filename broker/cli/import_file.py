"""The file of an import: opened once, looked through several times, and known again by a digest."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from broker.connections.moving.formats import Reader, ReadOptions
from broker.connections.moving.row import Row, RowFault
from broker.errors import FieldFault, InvalidRequest

_HEAD: Final = 64 * 1024
"""Bytes of the beginning, by which a format is recognised."""
_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file that can be read from its beginning as often as it is needed."""

    name: str
    file: BinaryIO
    head: bytes
    digest: str

    def fingerprint(self, options: Mapping[str, object]) -> bytes:
        """What tells this file, with these options, from every other."""
        text = json.dumps({"file": self.digest, **options}, sort_keys=True)
        return hashlib.sha256(text.encode()).digest()

    def rows(self, reader: Reader, options: ReadOptions) -> Iterator[Row | RowFault]:
        """Its rows, from the first one on.

        :raises InvalidRequest: it can't be read, or has changed since it was opened.
        """
        before = _state(self.file)
        with _readable():
            self.file.seek(0)
            yield from reader.read(self.file, options)
        if _state(self.file) != before:
            raise InvalidRequest("the file was changed while it was read", [FieldFault("FILE", "begin anew with it")])


@contextmanager
def opened(path: str) -> Iterator[ImportFile]:
    """The file; of ``-``, standard input, a copy that nobody else can read and that goes with this process.

    :raises InvalidRequest: it can't be read.
    """
    with ExitStack() as until_the_end:
        # Not around what is done with the file: what fails there is no fault of it.
        with _readable():
            if path == "-":
                copy = until_the_end.enter_context(tempfile.TemporaryFile())  # mode 0600, and without a name
                while block := sys.stdin.buffer.read(_BLOCK):
                    copy.write(block)
                source = _known("standard input", copy)
            else:
                source = _known(Path(path).name, until_the_end.enter_context(Path(path).open("rb")))
        yield source


@contextmanager
def _readable() -> Iterator[None]:
    """:raises InvalidRequest: in place of any fault of the system's."""
    try:
        yield
    except OSError as error:
        raise InvalidRequest("the file can't be read", [FieldFault("FILE", error.strerror or "unreadable")]) from None


def _known(name: str, file: BinaryIO) -> ImportFile:
    file.seek(0)
    head = file.read(_HEAD)
    # The bytes may hold passwords, so this digest goes no further than into a keyed one.
    digest = hashlib.sha256(head)
    while block := file.read(_BLOCK):
        digest.update(block)
    return ImportFile(name, file, head, digest.hexdigest())


def _state(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
