"""Commands run in this process against the test store, and a running broker for those that need one."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
import structlog

from broker.app.heart import Heart
from broker.cli.main import main
from broker.cli.session import configured_providers, heart_for_command
from broker.connections.authorization import Wanted
from broker.models.connection import Connection
from broker.observe import logs
from broker.settings import load_settings
from broker.vault.redis.embedded import EmbeddedStore
from tests.processes import broker_environment, broker_process

T = TypeVar("T")

KEY = f"k1:{base64.b64encode(bytes(range(32))).decode()}"


@dataclass(frozen=True)
class Result:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.stdout)


Cli = Callable[..., Result]
MakeFile = Callable[..., str]


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    raw_store: redis.Redis,
    store_server: EmbeddedStore,
    sandbox_url: str,
) -> None:
    """The test store, ``tests/providers.yaml`` and a free port are what is configured."""
    settings = {
        "PRACTICE": sandbox_url,
        "BROKER_REDIS_URL": store_server.url,
        "BROKER_ENCRYPTION_KEYS": KEY,
    }
    for name, text in broker_environment(tmp_path, settings).items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def logging_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands set up logging for their process, which here goes on with other tests."""
    configure, root = logs.configure, logging.getLogger()
    before, handlers, level = structlog.get_config(), root.handlers[:], root.level

    def configure_revocably(level: str, form: str) -> None:
        configure(level, form)
        structlog.configure(cache_logger_on_first_use=False)

    monkeypatch.setattr(logs, "configure", configure_revocably)
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("broker").setLevel(logging.NOTSET)


@pytest.fixture
def cli(environment: None, run_here: Cli) -> Cli:
    """``cli("clients", "list")`` runs a command and answers what it did."""
    return run_here


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """``make_file(row, …)``: a file of JSON Lines with these rows."""

    def make(*rows: Mapping[str, Any], name: str = "all.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return str(path)

    return make


@pytest.fixture
def run_here(logging_restored: None, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process, with whatever its variables say."""

    def run(*words: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return Result(int(ended.value.code or 0), output.out, output.err)

    return run


@pytest.fixture
def at_heart(environment: None, logging_restored: None) -> Callable[[Callable[[Heart], Coroutine[Any, Any, T]]], T]:
    """``at_heart(work)`` runs ``work`` with the configured broker's parts."""

    def run(work: Callable[[Heart], Coroutine[Any, Any, T]]) -> T:
        async def session() -> T:
            settings = load_settings()
            async with heart_for_command(settings, configured_providers(settings)) as heart:
                return await work(heart)

        return asyncio.run(session())

    return run


@pytest.fixture
def make_connection(at_heart: Callable[..., Connection]) -> Callable[..., Connection]:
    """``make_connection(subject=…)``: a connection by the practice provider's client credentials grant."""

    def make(*, subject: str = "ann", provider: str = "practice", tenant: str = "default") -> Connection:
        async def work(heart: Heart) -> Connection:
            found = heart.providers.get(provider)
            return await heart.intake.take(
                Wanted(
                    tenant=tenant,
                    client_id="cl_test",
                    subject=subject,
                    provider=found,
                    credential_type="client_credentials",
                    requested_scopes=found.default_scopes,
                    parameters={},
                    label=None,
                    metadata={},
                    request_id=None,
                ),
                {},
            )

        return at_heart(work)

    return make


@dataclass(frozen=True)
class Running:
    """A running broker with an embedded store, and the variables of commands on the same machine."""

    url: str
    environ: Mapping[str, str]
    data_dir: Path


@pytest.fixture(scope="module")
def running_broker(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> Iterator[Running]:
    """``broker serve`` with a store of its own."""
    environ = broker_environment(tmp_path_factory.mktemp("running"), {"PRACTICE": sandbox_url})
    with broker_process(environ) as url:
        yield Running(url, environ, Path(environ["BROKER_DATA_DIR"]))


@pytest.fixture
def running(running_broker: Running) -> Running:
    """The running broker, with nothing in its store and no client remembered beside it."""
    with redis.Redis.from_url(EmbeddedStore(running_broker.data_dir).url) as store:
        store.flushall()
    (running_broker.data_dir / "connect-client.json").unlink(missing_ok=True)
    return running_broker
