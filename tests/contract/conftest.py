"""A running broker with something in it, for programs that know nothing of it but its document."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.models.access import CLIENT_SCOPES
from tests.cli.browser import approve, visit
from tests.machine import DEVICE_CODE
from tests.processes import broker_environment, broker_process

_ORDER = {"provider": "practice", "subject": "ann"}


@dataclass(frozen=True)
class LiveBroker:
    """A broker as a process tree, a client that may do everything, and what is there to be asked about."""

    url: str
    client_id: str
    secret: str
    token: str
    things: Mapping[str, Sequence[str]]
    """Kind of thing → ids of some, and other words that only fit what is there."""

    @property
    def basic(self) -> str:
        """The client's id and secret as the Authorization header has them."""
        return base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()


@pytest.fixture(scope="module")
def live_broker(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> Iterator[LiveBroker]:
    """``broker serve`` with a store of its own, a client, connections, and sessions at several stages."""
    environ = broker_environment(tmp_path_factory.mktemp("contract"), {"PRACTICE": sandbox_url})
    with broker_process(environ) as url, httpx2.Client(base_url=url, trust_env=False) as http:
        made = _client(environ, f"{url}/livez")
        auth = made["client_id"], made["client_secret"]
        grant = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
        token = grant.raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        things = {**_things(http, made["client_id"]), **_logins(http, auth)}
        yield LiveBroker(url, *auth, token, things)


def _client(environ: Mapping[str, str], return_url: str) -> dict[str, Any]:
    scopes = [word for scope in CLIENT_SCOPES for word in ("--scope", scope)]
    named = ["clients", "create", "all", "--return-url", return_url]
    command = [sys.executable, "-m", "broker.cli.main", *named, "--device", *scopes]
    folder = Path(environ["BROKER_DATA_DIR"]).parent
    ran = subprocess.run([*command, "--json"], cwd=folder, env=environ, check=True, capture_output=True, text=True)
    made: dict[str, Any] = json.loads(ran.stdout)
    return made


def _things(http: httpx2.Client, client_id: str) -> dict[str, list[str]]:
    def make(path: str, body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = http.post(path, json=body).raise_for_status().json()
        return made

    connections = [make("/v1/connections", {**_ORDER, "credentials": {}})["id"] for _ in range(5)]
    disposable = [make("/v1/clients", {"name": "other", "scope": "connect"})["client_id"] for _ in range(3)]
    approved = make("/v1/connect-sessions", _ORDER)
    return {
        "connections": connections[:2],
        "disposable_connections": connections[2:],
        "clients": [client_id],
        "disposable_clients": disposable,
        "sessions": [make("/v1/connect-sessions", _ORDER)["id"]],
        "approved_sessions": [approved["id"]],
        "completion_codes": [visit(approved["connect_url"], "allow").url.params["completion_code"]],
        "subjects": [_ORDER["subject"]],
        "providers": [_ORDER["provider"], "unconfigured"],
        "api_paths": ["messages"],
    }


def _logins(http: httpx2.Client, auth: tuple[str, str]) -> dict[str, list[str]]:
    """A machine that is logged in."""
    codes = http.post("/oauth/device_authorization", data={"provider": "practice"}, auth=auth).raise_for_status().json()
    approve(str(http.base_url).rstrip("/"), codes["user_code"])
    form = {"grant_type": DEVICE_CODE, "device_code": codes["device_code"]}
    connection_id = http.post("/oauth/token", data=form, auth=auth).raise_for_status().json()["connection_id"]
    (machine,) = http.get(f"/v1/connections/{connection_id}/device-sessions").raise_for_status().json()["items"]
    return {"logins": [connection_id], "devices": [machine["id"]]}
