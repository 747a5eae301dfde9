"""A file that only its owner can read, and that is there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from broker.errors import Conflict, InvalidRequest


@contextmanager
def new_private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to be written; under its name it appears when it is complete and on disk.

    :raises Conflict: there is one of this name, or it can't be written.
    :raises InvalidRequest: none can be made there.
    """
    # Also a link that leads nowhere has the name.
    if os.path.lexists(path):
        raise _taken(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise InvalidRequest(f"no file can be made in {path.parent}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _name(Path(name), path)
    except OSError as error:
        raise Conflict(f"the file can't be written: {error.strerror}") from None
    finally:
        Path(name).unlink(missing_ok=True)


def _name(complete: Path, path: Path) -> None:
    try:
        # Unlike a rename this never takes another file's place.
        os.link(complete, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:
        # A file system without hard links.
        if os.path.lexists(path):
            raise _taken(path) from None
        complete.rename(path)
    try:
        _keep_name(path.parent)
    except OSError:
        # It is not there before it would be after a power failure, too.
        path.unlink(missing_ok=True)
        raise


def _keep_name(parent: Path) -> None:
    folder = os.open(parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} is there already; it is not overwritten")
