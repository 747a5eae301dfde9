"""The embedded store's key file gains a key: whole or not at all, by one process at a time, for nobody else's eyes."""

import asyncio
import os
from pathlib import Path

import pytest

from broker.errors import Conflict
from broker.settings.values import parse_keys
from broker.vault.key_file import put_new_key_first
from broker.vault.redis.data_dir import ensure_keys


def kids(data_dir: Path) -> list[str]:
    """The ids of the keys in the file, in their order."""
    return [entry.partition(":")[0] for entry in ensure_keys(data_dir).split(",")]


def test_the_new_key_stands_first_and_the_old_ones_stay(tmp_path: Path) -> None:
    """The file reads as before, with one usable key more, and is its owner's alone."""
    before = ensure_keys(tmp_path)
    (first,) = kids(tmp_path)
    second = put_new_key_first(tmp_path, before=first)
    third = put_new_key_first(tmp_path, before=second)
    assert kids(tmp_path) == [third, second, first]
    assert ensure_keys(tmp_path).endswith(f",{before}")
    assert len(parse_keys(ensure_keys(tmp_path))) == 3  # type: ignore[arg-type]
    assert (tmp_path / "encryption_keys").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("tmp*"))


async def test_of_many_who_make_a_key_at_once_one_does(tmp_path: Path) -> None:
    """The file gains one key; the others are told, and lose nothing."""
    ensure_keys(tmp_path)
    (first,) = kids(tmp_path)
    made = await asyncio.gather(
        *(asyncio.to_thread(put_new_key_first, tmp_path, before=first) for _ in range(8)), return_exceptions=True
    )
    new = [kid for kid in made if isinstance(kid, str)]
    assert len(new) == 1
    assert all(isinstance(other, Conflict) for other in made if other not in new)
    assert kids(tmp_path) == [*new, first]


def test_a_file_that_cant_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the old keys are what is there, and nothing else."""
    before = ensure_keys(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            put_new_key_first(tmp_path, before=before.partition(":")[0])
    assert ensure_keys(tmp_path) == before
    assert not list(tmp_path.glob("tmp*"))
