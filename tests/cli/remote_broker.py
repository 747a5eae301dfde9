"""A broker as machines elsewhere know it: by its address and the id of the client that its operator made for them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.vault import names
from broker.vault.redis.embedded import EmbeddedStore
from tests.cli.headless import COMMAND, GIT_HOST, ROOT, Home
from tests.processes import broker_environment, broker_process


@dataclass(frozen=True)
class Remote:
    """A running broker."""

    url: str
    environ: Mapping[str, str]
    """Of commands on its own machine."""
    made: dict[str, bytes] = field(default_factory=dict)
    """The client that machines log in through, once it was made: keys of the store with their values."""

    def operator(self, *words: str) -> Any:
        """The JSON document of a command on its own machine."""
        done = subprocess.run(
            [*COMMAND, *words, "--json"],
            env=dict(self.environ),
            cwd=Path(self.environ["BROKER_DATA_DIR"]).parent,
            check=True,
            capture_output=True,
        )
        return json.loads(done.stdout)

    def empty(self) -> None:
        """Take everything out of its store."""
        with self._store() as store:
            store.flushall()
        for name in ("connect-client.json", "login-client.json"):
            (Path(self.environ["BROKER_DATA_DIR"]) / name).unlink(missing_ok=True)

    def machines_client(self) -> str:
        """The client that machines log in through; made by a command the first time, later put back as it was."""
        with self._store() as store:
            if not self.made:
                made = self.operator(
                    "clients", "create", "machines", "--device", "--public", "--scope", "tokens:read connections:read"
                )
                keys = names.client(made["client_id"]), names.CLIENTS, names.KEYRING
                self.made.update({key: store.dump(key) for key in keys})
            for key, value in self.made.items():
                store.restore(key, 0, value, replace=True)
        return next(iter(self.made)).rpartition(":")[2]

    def _store(self) -> redis.Redis:
        return redis.Redis.from_url(EmbeddedStore(Path(self.environ["BROKER_DATA_DIR"])).url)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> Iterator[Remote]:
    """``broker serve`` with short pauses and a store of its own."""
    folder = tmp_path_factory.mktemp("remote")
    environ = broker_environment(
        folder,
        {
            "PRACTICE": sandbox_url,
            "GIT_HOST": GIT_HOST,
            "BROKER_PROVIDERS_FILE": str(ROOT / "tests" / "cli" / "headless.yaml"),
        },
    )
    with broker_process(environ, quick=True) as url:
        yield Remote(url, environ)


@pytest.fixture
def remote(serving: Remote, sandbox: httpx2.Client) -> Remote:
    """The running broker, with nothing in its store, and the provider as at the start."""
    serving.empty()
    return serving


@pytest.fixture
def home(remote: Remote, tmp_path: Path) -> Home:
    """A machine elsewhere: it knows the broker's address and a client's id, and nothing else."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home", {"BROKER_URL": remote.url, "BROKER_CLIENT_ID": remote.machines_client()})


def given(home: Home, **fields: Any) -> Any:
    """A login of this machine."""
    return home.given(home.variables["BROKER_URL"], home.variables["BROKER_CLIENT_ID"], **fields)
