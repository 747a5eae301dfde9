"""A new key for the embedded store: put first into the file of its keys, where the old ones stay."""

import base64
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from broker.errors import Conflict
from broker.vault.redis.data_dir import ensure_keys, lock

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that is doing the same."""


def put_new_key_first(data_dir: Path, *, before: str) -> str:
    """Make a key and put it before the others in ``DATA_DIR/encryption_keys``; answers its id.

    Whoever reads the file meanwhile finds the old keys or all of them; a crash leaves one or the other.

    :param before: the id of the key that stands first.
    :raises Conflict: another process has put a new key there meanwhile.
    :raises ConfigurationError: the file can't be used.
    """
    path = data_dir / "encryption_keys"
    descriptor = lock(data_dir / "encryption_keys.lock", seconds=_PATIENCE)
    if descriptor is None:
        raise Conflict("another process is making a new key; run this again")
    try:
        present = ensure_keys(data_dir)
        kids = [entry.strip().partition(":")[0] for entry in present.split(",")]
        if kids[0] != before:
            raise Conflict("another process has just made a new key; run this again")
        kid = next(kid for kid in iter(lambda: f"k{secrets.token_hex(4)}", "") if kid not in kids)
        _replace(path, f"{kid}:{base64.b64encode(secrets.token_bytes(32)).decode()},{present}\n")
    finally:
        os.close(descriptor)
    return kid


def _replace(path: Path, content: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner alone
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    # What is sealed with a key must not outlive it: the file is on disk before anybody uses the key.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
