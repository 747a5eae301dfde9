"""What the story is played on: ports, ``providers.yaml``, processes, registered clients. Nothing of it stays."""

import json
import os
import secrets
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2
from redis import Redis

from broker.cli.demo.app import APP_NAME, WORKER_NAME, Config
from broker.cli.demo.exchange import Hear, Trace, http_client
from broker.cli.demo.processes import Processes, Program, free_ports, output_of, python_module, undisturbed
from broker.cli.demo.services import Backend, Registration, Worker
from broker.cli.demo.strongroom import Strongroom
from broker.vault.redis.data_dir import holder
from broker.vault.redis.embedded import EmbeddedStore, running

PROVIDER: Final = "practice"
_PROVIDER_CLIENT_ID: Final = "acme-inbox"
_STORE_SECONDS: Final = 30.0

_PROVIDERS_FILE: Final = """\
providers:
  {name}:
    display_name: Practice provider
    type: oauth2
    issuer: {issuer}          # the endpoints are discovered (RFC 8414)
    client_id: {client_id}
    client_secret: "{client_secret}"
    grant_types: [authorization_code, refresh_token]
    scopes:
      profile: See your name and e-mail address
      messages.read: Read your messages
    default_scopes: [profile, messages.read]
    refresh: {{rotation: strict}}
    identity: {{url: "{issuer}/whoami", id: /sub, name: /email}}
    api: {{base_url: "{issuer}/api"}}
"""


class Stage:
    """Everything that runs, and what it takes to talk to it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="broker-demo-"))
        self._data_dir = self._folder / "data"
        self.trace = Trace(self._folder / "exchanges.jsonl")
        provider, broker, app = (f"http://127.0.0.1:{port}" for port in free_ports(3))
        self.provider_url, self.broker_url, self.app_url = provider, broker, app
        self._places = {app: APP_NAME, broker: "broker", provider: "provider"}
        self._processes = Processes(self._folder, self._environ())
        self._registered: dict[str, Registration] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with undisturbed():
            self._closing.close()
            self._processes.end()
            self._end_orphaned_store()
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> list[Program]:
        """Start the practice provider and the broker, both at once; answers them when they are ready."""
        secret = secrets.token_urlsafe(24)
        values = {"name": PROVIDER, "client_id": _PROVIDER_CLIENT_ID, "client_secret": secret}
        providers_file = self._folder / "providers.yaml"
        providers_file.write_text(_PROVIDERS_FILE.format(issuer=self.provider_url, **values), encoding="utf-8")
        provider = self._processes.start("Practice provider", self.provider_url, self._sandbox(secret))
        broker = self._processes.start("Broker", self.broker_url, broker_command("serve"))
        self._processes.wait_ready(provider, "/counters")
        self._processes.wait_ready(broker, "/readyz")
        return [provider, broker]

    def register(self) -> list[tuple[list[str], Registration]]:
        """Register both clients by the command line; answers what was typed, and what it gave."""
        return_url = f"{self.app_url}/connected"
        scope = "connect connections:read connections:write references:issue events:read"
        wanted = {
            APP_NAME: ["--scope", scope, "--return-url", return_url, "--provider", PROVIDER],
            WORKER_NAME: ["--scope", "references:redeem tokens:read", "--provider", PROVIDER],
        }
        typed = {name: ["clients", "create", name, *flags, "--json"] for name, flags in wanted.items()}
        commands = {name: self._processes.run(broker_command(*words)) for name, words in typed.items()}
        for name, command in commands.items():
            answer = json.loads(output_of(command, "broker clients create"))
            self._registered[name] = Registration(answer["client_id"], answer["client_secret"])
        return [(typed[name], registration) for name, registration in self._registered.items()]

    def open_app(self) -> Program:
        """Start Acme Inbox, as the clients that were registered."""
        config = Config(
            broker_url=self.broker_url,
            provider_url=self.provider_url,
            app_url=self.app_url,
            backend=self._registered[APP_NAME],
            worker=self._registered[WORKER_NAME],
            trace=str(self._folder / "exchanges.jsonl"),
        )
        config.save(self._folder / "acme.json")
        command = python_module("broker.cli.demo.app", str(self._folder / "acme.json"))
        app = self._processes.start(APP_NAME, self.app_url, command)
        self._processes.wait_ready(app, "/")
        return app

    def client(self, caller: str, hear: Hear) -> httpx2.Client:
        """An HTTP client for somebody of the story."""
        return self._closing.enter_context(http_client(caller, self._places, hear))

    def backend(self, hear: Hear) -> Backend:
        """Acme's backend once more, for what its pages have no button for."""
        return Backend(self.client(APP_NAME, hear), self.broker_url, self._registered[APP_NAME])

    def worker(self, hear: Hear) -> Worker:
        """Acme's worker once more."""
        http, registration = self.client(WORKER_NAME, hear), self._registered[WORKER_NAME]
        return Worker(http, self.broker_url, registration, provider_url=self.provider_url)

    def strongroom(self) -> Strongroom:
        """The embedded store, opened past the broker."""
        store = Redis.from_url(EmbeddedStore(self._data_dir).url)
        return Strongroom(self._closing.enter_context(store), self._data_dir)

    def registration(self, name: str) -> Registration:
        """As whom the program of this name is registered."""
        return self._registered[name]

    def provider_control(self, **orders: object) -> None:
        """Change how the practice provider behaves."""
        with httpx2.Client(trust_env=False) as http:
            http.post(f"{self.provider_url}/control", json=orders).raise_for_status()

    def provider_counters(self) -> dict[str, Any]:
        """What the practice provider was asked so far."""
        with httpx2.Client(trust_env=False) as http:
            counters: dict[str, Any] = http.get(f"{self.provider_url}/counters").raise_for_status().json()
        return counters

    def check(self) -> None:
        """Return if everything that was started runs.

        :raises ProcessFailed: something has ended.
        """
        self._processes.check()

    def check_after_fault(self) -> None:
        """:meth:`check`, when something went wrong for which a program that is just ending may be the cause.

        :raises ProcessFailed: something has ended.
        """
        self._processes.check_after_fault()

    def store_pid(self) -> int:
        """The process id of the embedded store's server."""
        return int(holder(self._data_dir / "server.lock"))

    def logs(self) -> list[Path]:
        """What the programs have printed."""
        return sorted(self._folder.glob("*.log"))

    def _environ(self) -> dict[str, str]:
        # The developer's own broker, its settings and its store, must not be touched: nothing of it is passed on.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
        return inherited | {
            "BROKER_PUBLIC_URL": self.broker_url,
            "BROKER_HOST": "127.0.0.1",
            "BROKER_PORT": self.broker_url.rpartition(":")[2],
            "BROKER_DATA_DIR": str(self._data_dir),
            "BROKER_PROVIDERS_FILE": str(self._folder / "providers.yaml"),
            "BROKER_LOG_LEVEL": "WARNING",
        }

    def _sandbox(self, secret: str) -> list[str]:
        port = self.provider_url.rpartition(":")[2]
        # In one word with its option: a random secret may begin with a dash, and would be read as an option itself.
        app = ["--client-id", _PROVIDER_CLIENT_ID, f"--client-secret={secret}"]
        redirect = ["--redirect-uri", f"{self.broker_url}/callback/{PROVIDER}"]
        return python_module("broker.sandbox", "--port", port, "--rotation", "strict", *app, *redirect)

    def _end_orphaned_store(self) -> None:
        """A broker that was killed leaves its store to be adopted; here nobody will."""
        deadline = time.monotonic() + _STORE_SECONDS
        while running(self._data_dir) and time.monotonic() < deadline:
            EmbeddedStore(self._data_dir, lock_seconds=0).stop_if_unused()
            time.sleep(0.05)


def broker_command(*words: str) -> list[str]:
    """The command that a developer types as ``broker WORDS``."""
    return python_module("broker.cli.main", *words)
