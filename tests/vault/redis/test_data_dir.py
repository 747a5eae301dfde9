"""The folder of the embedded store: private, with a socket that others can't reach and keys made exactly once."""

import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from broker.errors import ConfigurationError
from broker.settings import load_settings
from broker.vault.redis import data_dir as folder
from broker.vault.redis.data_dir import ensure_keys, holder, lock, make_private, sign, socket_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    """A missing folder is made with its parents, for its owner alone."""
    make_private(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_empty_folder_is_closed_to_others(tmp_path: Path) -> None:
    """A folder that was prepared for the broker, as a volume is, becomes private."""
    tmp_path.chmod(0o755)
    make_private(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    """A folder that is open and holds other things is refused, and its mode stays: others may depend on it."""
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigurationError, match=f"BROKER_DATA_DIR: {tmp_path} is open to other users"):
        make_private(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """Where a file stands in the folder's place, the fault names the path."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ConfigurationError, match=f"BROKER_DATA_DIR: can't make {path}"):
        make_private(path)


def test_the_socket_is_in_the_folder(tmp_path: Path) -> None:
    """As long as the kernel takes the path, the socket stands where the data is."""
    assert socket_path(tmp_path) == tmp_path / "store.sock"


def test_a_long_folder_gets_a_short_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is too long for a socket is replaced by a short one: private, stable, one per folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    long = [tmp_path / ("x" * 100) / name for name in ("one", "two")]
    first, second = map(socket_path, long)
    assert first != second
    assert first == socket_path(long[0])
    assert mode(first.parent) == 0o700
    assert len(os.fsencode(first)) - len(os.fsencode(tmp_path)) < 60


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_prepared_socket_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """Another user who makes the folder for short sockets first can't offer the broker a store of his own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        short = Path(temporary) / f"broker-{os.geteuid()}"
        if trap == "open":
            short.mkdir()
            short.chmod(0o777)
        else:
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            short.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigurationError, match=str(short)):
            socket_path(tmp_path / ("x" * 100))


def test_a_signed_lock_file_never_names_somebody_else(tmp_path: Path) -> None:
    """Who reads while it is signed anew finds the old pid or the new one."""
    descriptor = lock(tmp_path / "lock")
    assert descriptor is not None
    sign(descriptor, 4711)
    with ThreadPoolExecutor(1) as reader:
        found = reader.submit(lambda: {holder(tmp_path / "lock") for _ in range(10_000)})
        while not found.done():
            sign(descriptor, 12)
            sign(descriptor, 4_194_304)
            sign(descriptor, 4711)
    assert found.result() <= {"12", "4711", "4194304"}
    os.close(descriptor)


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    """The keys are made at the first call, stay the same, are for the owner alone, and fit the setting."""
    keys = ensure_keys(tmp_path)
    assert ensure_keys(tmp_path) == keys
    assert mode(tmp_path / "encryption_keys") == 0o600
    settings = load_settings({"BROKER_ENCRYPTION_KEYS": keys}, env_file=None)
    assert settings.encryption_keys is not None
    assert [len(key) for _, key in settings.encryption_keys] == [32]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encryption_keys"]


def test_starters_at_the_same_time_get_the_same_keys(tmp_path: Path) -> None:
    """Whoever comes second takes the keys of the first, even if both saw that there were none."""
    racers = 8
    barrier = Barrier(racers)

    def racing(size: int) -> bytes:
        # Asked for randomness, a racer has seen that there are no keys; all wait here for each other.
        if size == 32:
            barrier.wait(10)
        return os.urandom(size)

    with ThreadPoolExecutor(racers) as pool:
        found = set(pool.map(lambda _: ensure_keys(tmp_path, randomness=racing), range(racers)))
    assert len(found) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encryption_keys"]


def test_lost_keys_are_not_replaced(tmp_path: Path) -> None:
    """A store without its key file is refused: new keys would hide that the stored credentials are unreadable."""
    files = tmp_path / "store" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.1.incr.aof").write_text("*1\r\n")
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match=f"{tmp_path / 'encryption_keys'} is missing"):
        ensure_keys(tmp_path)
    assert not (tmp_path / "encryption_keys").exists()


@pytest.mark.parametrize(
    ("permissions", "content", "fault"), [(0o640, "k:x", "is open to other users"), (0o600, "\n", "is empty")]
)
def test_a_doubtful_key_file_is_refused(tmp_path: Path, permissions: int, content: str, fault: str) -> None:
    """A key file that others can read, or an empty one, is refused by name; its content is not shown."""
    path = tmp_path / "encryption_keys"
    path.write_text(content)
    path.chmod(permissions)
    with pytest.raises(ConfigurationError, match=f"{path} {fault}") as caught:
        ensure_keys(tmp_path)
    assert "k:x" not in str(caught.value)


def test_a_lock_is_exclusive_until_it_is_closed(tmp_path: Path) -> None:
    """Who asks while it is held gets nothing; sharers get along with each other, not with an exclusive holder."""
    path = tmp_path / "lock"
    first, second = folder.lock(path, shared=True), folder.lock(path, shared=True)
    assert first is not None
    assert second is not None
    assert folder.lock(path) is None
    os.close(first)
    assert folder.lock(path) is None
    os.close(second)
    third = folder.lock(path)
    assert third is not None
    folder.sign(third, 4711)
    assert folder.holder(path) == "4711"
    os.close(third)
