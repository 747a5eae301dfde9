"""The folder of the embedded store: who may enter, who holds it, where its socket is, its encryption keys.

::

    DATA_DIR/            0700
      lock               held by the process that owns the store; its pid is inside
      users              held, shared, by every process that talks to the store
      server.lock        held by the server process from its first to its last instant; its pid is inside
      encryption_keys    0600, ``kid:base64,…``; ``keys rotate`` puts a new one first
      store/             the append-only file
      store.sock, store.log

The locks are ``flock(2)``: the kernel lets go of them when their holder ends, however it ends.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from broker.errors import ConfigurationError

_SOCKET_PATH_BYTES = 100  # sockaddr_un holds 104 on some systems and 108 on others, with a NUL at the end
_SOCKET_FOLDER_BYTES = _SOCKET_PATH_BYTES - 40
_LOCK_POLL_SECONDS = 0.01
_PID_BYTES = 8
"""Room for a pid (seven digits at most: Linux's PID_MAX_LIMIT is 4194304) and the end of its line."""


def make_private(data_dir: Path) -> None:
    """Make ``data_dir`` if it is missing, and let nobody but its owner in.

    :raises ConfigurationError: it can't be made, belongs to somebody else, or is open to others and holds
        things that are not ours: closing such a folder could lock other programs out of it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"BROKER_DATA_DIR: can't make {data_dir}: {error.strerror}"]) from error
    if not is_private(data_dir):
        data_dir.chmod(0o700)


def is_private(data_dir: Path) -> bool:
    """Whether nobody but the owner of ``data_dir``, which is there, can enter it. Only looks.

    :raises ConfigurationError: it is none that :func:`make_private` would close.
    """
    try:
        found = data_dir.stat()
        if found.st_uid != os.geteuid():
            raise ConfigurationError([f"BROKER_DATA_DIR: {data_dir} belongs to another user; name a folder inside it"])
        if not stat.S_IMODE(found.st_mode) & 0o077:
            return True
        if not (data_dir / "lock").exists() and any(data_dir.iterdir()):
            fault = f"{data_dir} is open to other users and holds other files; name a new folder"
            raise ConfigurationError([f"BROKER_DATA_DIR: {fault}"])
    except OSError as error:
        raise ConfigurationError([f"BROKER_DATA_DIR: can't look into {data_dir}: {error.strerror}"]) from error
    return False


def holds_store(data_dir: Path) -> bool:
    """Whether a store was ever written in ``data_dir``. Only looks."""
    return any((data_dir / "store").glob("appendonlydir/*.aof*"))


def socket_path(data_dir: Path) -> Path:
    """Where the store of ``data_dir`` listens: inside it, or in a private folder for short names.

    The kernel limits how long the path of a socket may be.

    :raises ConfigurationError: somebody else could reach into the folder for short names.
    """
    path = data_dir.absolute() / "store.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    folder = Path(tempfile.gettempdir()) / f"broker-{os.geteuid()}"
    if len(os.fsencode(folder)) > _SOCKET_FOLDER_BYTES:
        folder = Path("/tmp") / folder.name  # noqa: S108 - whose it is, is checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    # Everybody may write where temporary files are: another user may have made a folder of this name first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError([f"{folder} must be a folder of this user alone (mode 0700)"])
    return folder / (hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:32] + ".sock")


def store_url(data_dir: Path) -> str:
    """The address of the store of ``data_dir``, as ``BROKER_REDIS_URL`` would hold it.

    :raises ConfigurationError: as :func:`socket_path`.
    """
    # A path may hold what means something in a URL: %, ?, #.
    return f"unix://{quote(os.fsencode(socket_path(data_dir)))}"


def lock(path: Path, *, shared: bool = False, seconds: float = 0) -> int | None:
    """A descriptor that holds the lock on ``path`` until it is closed; ``None`` if others hold it.

    :param seconds: how long to wait for the others.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return descriptor


def sign(descriptor: int, pid: int) -> None:
    """Write ``pid`` into the lock file, for whoever finds it held."""
    # Always as long, and eight bytes that are copied at once: who reads meanwhile finds the old pid or the new one.
    os.pwrite(descriptor, f"{pid:<{_PID_BYTES - 1}}\n".encode(), 0)


def holder(path: Path) -> str:
    """The pid that is written in a lock file, or what can be said without one."""
    return path.read_text().partition("\n")[0].strip() or "unknown"


def ensure_keys(data_dir: Path, *, randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """The embedded store's keys, written as in ``BROKER_ENCRYPTION_KEYS``; made if there are none.

    Processes that come at the same time get the same keys. Call it before the store of a new folder is
    started: a store that has its files but no key file is never given new keys.

    :raises ConfigurationError: the key file is empty, open to others, or missing although there is a store.
    """
    make_private(data_dir)
    path = data_dir / "encryption_keys"
    if not path.exists():
        if holds_store(data_dir):
            raise ConfigurationError([f"{path} is missing: the stored credentials can't be read without it"])
        _create(path, f"k{randomness(4).hex()}:{base64.b64encode(randomness(32)).decode()}\n")
    return _read_private(path)


def _create(path: Path, content: str) -> None:
    """Make ``path`` with all its content or not at all; who comes second changes nothing."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
    # What is sealed with a key must not outlive it: the file's name is on disk before anybody uses the key.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError([f"can't read {path}: {error.strerror}"]) from error
    with os.fdopen(descriptor) as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise ConfigurationError([f"{path} is open to other users; chmod 600 it, and consider rotating the keys"])
        content = file.read().strip()
    if not content:
        raise ConfigurationError([f"{path} is empty: the stored credentials can't be read without it"])
    return content
