"""An app as browsers and the broker see it: its site, and its backend."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2

from tests.processes import broker_environment, broker_process, free_port


@dataclass
class App:
    """An app: its pages, where browsers come back to, and its backend."""

    broker: httpx2.Client
    url: str
    client_id: str
    token: str
    returned: list[str]
    """The addresses at which browsers came back, oldest first."""
    pages: dict[str, str]
    """The pages that it serves besides, by path."""

    def open_session(self, **body: Any) -> dict[str, Any]:
        """Open a connect session."""
        return self._post("/v1/connect-sessions", {"provider": "practice", "subject": "ann", **body})

    def complete(self, session_id: str, completion_code: str) -> dict[str, Any]:
        """Complete it for the person who is signed in."""
        body = {"completion_code": completion_code, "subject": "ann"}
        return self._post(f"/v1/connect-sessions/{session_id}/complete", body)

    def session(self, session_id: str) -> dict[str, Any]:
        """How it stands."""
        answer = self.broker.get(f"/v1/connect-sessions/{session_id}", headers=self._headers)
        seen: dict[str, Any] = answer.raise_for_status().json()
        return seen

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.broker.post(path, json=body, headers=self._headers).raise_for_status().json()
        return answer


@contextmanager
def served_client(
    sandbox_url: str, folder: Path, name: str, *options: str, **environment: str
) -> Iterator[tuple[httpx2.Client, dict[str, Any]]]:
    """A broker that serves, with a client that was registered there by ``broker clients create NAME OPTIONS``."""
    env = {
        "PRACTICE": sandbox_url,
        "BROKER_DATA_DIR": str(folder / "data"),
        "BROKER_PORT": str(free_port()),
        **environment,
    }
    command = [sys.executable, "-m", "broker.cli.main", "clients", "create", name, "--json", *options]
    with broker_process(env) as url:
        made = subprocess.run(command, env=broker_environment(folder, env), cwd=folder, check=True, capture_output=True)
        with httpx2.Client(base_url=url, trust_env=False) as broker:
            yield broker, json.loads(made.stdout)


@contextmanager
def served_app(sandbox_url: str, folder: Path) -> Iterator[App]:
    """A broker that serves, and an app that is registered there."""
    returned: list[str] = []
    pages: dict[str, str] = {}
    with app_site(returned, pages) as site:
        options = (
            "--scope",
            "connect connections:read",
            "--return-url",
            f"{site}/connected",
            "--completion",
            "browser",
        )
        with served_client(sandbox_url, folder, "Acme Notes", *options) as (broker, client):
            granted = broker.post(
                "/oauth/token",
                data={"grant_type": "client_credentials"},
                auth=(client["client_id"], client["client_secret"]),
            )
            token = granted.raise_for_status().json()["access_token"]
            yield App(broker, site, client["client_id"], token, returned, pages)


@contextmanager
def app_site(returned: list[str], pages: dict[str, str]) -> Iterator[str]:
    """The app's own site; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/connected"):
                returned.append(self.path)
            body = pages.get(self.path, "<!doctype html><title>The app</title><h1>Back in the app</h1>").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
