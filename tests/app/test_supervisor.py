"""`serve` with real processes: workers that come, go and are killed, and a store that goes last."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from types import MappingProxyType

import httpx2
import pytest
from redis import Redis

import broker
import tests
from broker.app import supervisor
from broker.errors import ConfigurationError
from broker.settings import load_settings
from broker.vault.redis.data_dir import holder
from broker.vault.redis.embedded import EmbeddedStore, running, store_for_command
from tests.waiting import until

_SERVE = """
import os, sys
from broker.app.supervisor import serve
from broker.settings import load_settings
sys.exit(serve(load_settings(), environ=os.environ, app=sys.argv[1], on_ready=lambda url: print(url, flush=True)))
"""


class Served:
    """A `serve` process under test."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path) -> None:
        self.process = process
        self._data_dir = data_dir
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()

    def get(self, path: str = "/") -> httpx2.Response:
        """One request on a connection of its own."""
        return httpx2.get(self.url + path, timeout=60, trust_env=False)

    def worker(self) -> int:
        """The pid of a worker."""
        return int(self.get().json()["pid"])

    def store_pid(self) -> int:
        """The pid of the store's server."""
        return int(holder(self._data_dir / "server.lock"))

    @contextmanager
    def answering(self, seconds: float) -> Iterator[Future[httpx2.Response]]:
        """A request that a worker has taken and will answer after ``seconds``."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.get, f"/slow?seconds={seconds}")
            until(lambda: "asked" in kept(self._data_dir))
            yield answer

    def end(self) -> int:
        """Ask it to end, wait for that, and tell the exit code."""
        self.process.terminate()
        return self.process.wait()

    def errors(self) -> str:
        """What it said on stderr until it ended."""
        return self.process.communicate()[1]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory in which no server is left running."""
    path = tmp_path / "data"
    yield path
    if path.exists():
        EmbeddedStore(path).stop_if_unused()


@contextmanager
def serving(
    data_dir: Path,
    *,
    workers: int = 1,
    app: str = "sample:create_app",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """`serve` with a sample app, in a session of its own as a terminal would give it; killed in the end."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("BROKER_")}
    environ |= {"BROKER_DATA_DIR": str(data_dir), "BROKER_PORT": "0", "BROKER_WORKERS": str(workers)}
    python_path = [Path(module.__file__).parent.parent for module in (broker, tests) if module.__file__]
    environ |= {"PYTHONPATH": os.pathsep.join(map(str, python_path)), **variables}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, f"tests.app.{app}"],
        env=environ,
        cwd=data_dir.parent,  # where no developer's .env is
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Served(process, data_dir)
        finally:
            process.kill()


def kept(data_dir: Path) -> dict[str, object]:
    """What the sample app wrote into the running store: who ended, how often ``/slow`` was asked."""
    with Redis.from_url(EmbeddedStore(data_dir).url, decode_responses=True, protocol=2) as store:
        found = {"ended": store.smembers("ended"), "asked": store.get("asked")}
    return {key: value for key, value in found.items() if value}


def ended_workers(data_dir: Path) -> object:
    """The pids of the workers whose app could still write to the store when it ended."""
    with store_for_command(data_dir):
        return kept(data_dir).get("ended", set())


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_end_and_the_store_goes_last(data_dir: Path, workers: int) -> None:
    """One worker or many: SIGTERM ends everything, and each worker could still write while it ended."""  # F3
    with serving(data_dir, workers=workers) as served:
        answer = served.get().json()
        assert (answer["metrics"] is not None and Path(answer["metrics"]).is_dir()) == (workers > 1)
        assert served.end() == 0
        assert not running(data_dir)
        assert not Path(str(answer["metrics"])).exists()
        with pytest.raises(httpx2.ConnectError):
            served.get()
        assert served.errors() == ""
    ended = ended_workers(data_dir)
    assert isinstance(ended, set)
    assert len(ended) == workers
    assert str(answer["pid"]) in ended


def test_a_killed_worker_is_replaced(data_dir: Path) -> None:
    """After kill -9 of the only worker, a request waits for its successor instead of failing."""
    with serving(data_dir) as served:
        first = served.worker()
        os.kill(first, signal.SIGKILL)
        second = served.worker()
        assert second != first
        assert served.end() == 0
        assert f"worker {first} ended with exit code -9" in served.errors()
    assert ended_workers(data_dir) == {str(second)}


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ({}, r'\{"event": "worker \d+ ended .*", "level": "warning", "logger": "broker\.app\.supervisor", .*\}'),
        ({"BROKER_LOG_FORMAT": "console"}, r"\d{4}-\d\d-\d\dT[\d:.]+Z \[warning  \] worker \d+ ended .*"),
        ({"BROKER_LOG_LEVEL": "error"}, None),
    ],
    ids=["default", "console", "errors only"],
)
def test_the_parent_logs_as_it_is_told(data_dir: Path, form: Mapping[str, str], shape: str | None) -> None:
    """In the format and from the level on that are set; JSON by default, as stderr is no terminal."""
    with serving(data_dir, variables=form) as served:
        os.kill(served.worker(), signal.SIGKILL)
        served.worker()
        assert served.end() == 0
        lines = served.errors().splitlines()
    assert [bool(shape and re.fullmatch(shape, line)) for line in lines] == [True] * (shape is not None)


def test_nothing_fails_when_it_ends_under_load(data_dir: Path) -> None:
    """Every request that was sent before or during the end is answered; after it, connecting is refused."""  # F3
    clients = 8
    busy = Barrier(clients + 1)

    def keep_asking(url: str) -> int:
        answers = 0
        with httpx2.Client(trust_env=False, timeout=60) as client:
            while True:
                if answers == 20:
                    busy.wait()
                try:
                    answers += client.get(url).status_code == 200
                except httpx2.ConnectError:
                    return answers

    with serving(data_dir) as served, ThreadPoolExecutor(clients) as pool:
        with served.answering(seconds=1) as slow:
            asking = [pool.submit(keep_asking, served.url) for _ in range(clients)]
            busy.wait()
            assert served.end() == 0
            assert slow.result().status_code == 200
        assert all(future.result() > 20 for future in asking)


def test_ctrl_c_in_a_terminal_ends_in_order(data_dir: Path) -> None:
    """SIGINT to the whole foreground group reaches neither the workers nor the store before their turn."""
    with serving(data_dir) as served:
        worker = served.worker()
        with served.answering(seconds=0.5) as slow:
            os.killpg(served.process.pid, signal.SIGINT)
            os.killpg(served.process.pid, signal.SIGINT)
            assert slow.result().status_code == 200
        assert served.process.wait() == 0
        assert not running(data_dir)
    assert ended_workers(data_dir) == {str(worker)}


def test_insisting_hurries(data_dir: Path) -> None:
    """A signal repeated later cuts open requests short; the app's own end still happens, and the store's too."""
    with serving(data_dir) as served:
        worker = served.worker()
        with served.answering(seconds=600) as slow:
            while not slow.done():
                served.process.terminate()
                time.sleep(0.2)
            assert slow.result().status_code == 500
        assert served.process.wait() == 0
        assert not running(data_dir)
    assert ended_workers(data_dir) == {str(worker)}


def test_workers_leave_when_the_parent_is_killed(data_dir: Path) -> None:
    """After kill -9 of the parent, workers finish and leave; no command ends the store meanwhile; it is adopted."""
    with serving(data_dir) as served:
        worker, store = served.worker(), served.store_pid()
        with served.answering(seconds=1) as slow:
            served.process.kill()
            served.process.wait()
            with store_for_command(data_dir):
                pass
            assert slow.result().status_code == 200
        until(lambda: kept(data_dir).get("ended") == {str(worker)})
    with serving(data_dir) as served:
        assert served.store_pid() == store
        assert served.worker() != worker
        assert served.end() == 0
    assert not running(data_dir)


def test_a_killed_store_is_started_again(data_dir: Path) -> None:
    """After kill -9 of the store its successor has the data; workers stay, and so does the ownership."""  # R7
    with serving(data_dir) as served:
        worker, store = served.worker(), served.store_pid()
        with served.answering(seconds=0):
            os.kill(store, signal.SIGKILL)
            until(lambda: served.store_pid() != store and running(data_dir))
        with pytest.raises(ConfigurationError, match=f"in use by process {served.process.pid}"):
            EmbeddedStore(data_dir, lock_seconds=0).launch()
        assert kept(data_dir) == {"asked": "1"}
        assert served.worker() == worker
        assert served.end() == 0
    assert ended_workers(data_dir) == {str(worker)}


@pytest.mark.parametrize(
    ("app", "exit_code", "said"),
    [("sample:misconfigured", 2, "SAMPLE: a fault with 1 worker\n"), ("sample:broken", 1, "raise ZeroDivisionError\n")],
)
def test_what_never_starts_is_not_tried_again(data_dir: Path, app: str, exit_code: int, said: str) -> None:
    """A worker that can't start ends `serve`: 2 for its configuration, 1 for the rest. It is not repeated."""
    with serving(data_dir, app=app) as served:
        assert served.url == ""
        assert served.process.wait() == exit_code
        assert served.errors().count(said) == 1
        assert not running(data_dir)


def test_with_an_external_store_nothing_is_kept_here(data_dir: Path, tmp_path: Path) -> None:
    """With BROKER_REDIS_URL neither server nor keys nor data directory are made; files around don't matter."""
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('a file in the working directory was imported')")
    keys = "k:" + base64.b64encode(os.urandom(32)).decode()
    variables = {"BROKER_REDIS_URL": "redis://127.0.0.1:1", "BROKER_ENCRYPTION_KEYS": keys}
    with serving(data_dir, app="sample:external", variables=variables) as served:
        assert served.url, served.errors()
        assert served.get().json() is True
        assert served.end() == 0
    assert not data_dir.exists()


def test_a_taken_address_is_named_before_anything_starts(data_dir: Path) -> None:
    """Where another program listens, the fault names host and port; neither store nor keys are made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {"BROKER_PORT": str(port), "BROKER_DATA_DIR": str(data_dir)}
        settings = load_settings(environ, env_file=None)
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: another program listens there"):
            supervisor.serve(settings, environ=environ)
    assert not data_dir.exists()
