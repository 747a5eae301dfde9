"""The proxy on real wires: served as a worker serves it, before the practice provider or a rough one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from broker.app import serving
from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.providers import Registry, load_providers
from tests.downstream.proxy.caller import ProxyCaller
from tests.upstream.practice_server import PracticeServer, practice_server
from tests.waiting import eventually
from tests.world import ServiceClient

_PROVIDERS = Path(__file__).parent.parent.parent / "providers.yaml"
_MORE = """
  rough:
    display_name: A provider without manners
    type: none
    api: {base_url: "${ROUGH}/base", timeout: 2, max_request_body: 100000, max_response_body: 1000000,
          headers: {X-Version: "7", Accept: "application/json"}}

  bare:
    display_name: A provider without an API
    type: none

  hosted:
    display_name: A provider that each connection has elsewhere
    type: none
    parameters: {host: {label: Host, pattern: ".+"}}
    api: {base_url: "https://{host}/api"}

  wandering:
    display_name: A provider whose connections can be elsewhere tomorrow
    type: custom
    parameters: {place: {label: Place, pattern: "[a-z]+"}}
    fields: {secret: {label: Secret}}
    computed: {sum: {function: hmac, key: "{secret}", over: "{target} {body_sha256}"}}
    headers: {X-Sum: "{sum}"}
    api: {base_url: "${ROUGH}/{place}"}

  roaming:
    display_name: Another one of those, to which nothing is shown
    type: none
    parameters: {place: {label: Place, pattern: "[a-z]+"}}
    api: {base_url: "${ROUGH}/{place}"}

  little:
    display_name: A provider that takes little
    type: none
    api: {base_url: "${PRACTICE}/keys/none", max_request_body: 5000}

  rough-query:
    extends: rough
    type: api_key
    api_key: {in: query, name: Key}

  rough-header:
    extends: rough
    type: api_key
    api_key: {in: header, name: X-Api-Key}
"""


@pytest.fixture
async def rough() -> AsyncIterator[PracticeServer]:
    """A provider whose answers a test writes byte by byte."""
    async with practice_server() as server:
        yield server


@pytest.fixture
def rough_port(rough: PracticeServer) -> int:
    """Where the rough provider listens."""
    return rough.port


@pytest.fixture
def providers(sandbox_url: str, app_key: str, rough: PracticeServer, tmp_path: Path) -> Registry:
    """``tests/providers.yaml``, and the rough provider in several forms."""
    file = tmp_path / "providers.yaml"
    file.write_text(_PROVIDERS.read_text() + _MORE)
    return load_providers(file, {"PRACTICE": sandbox_url, "PRACTICE_APP_KEY": app_key, "ROUGH": rough.origin})


@pytest.fixture
async def connection(app: ServiceClient) -> dict[str, Any]:
    """A connection of the practice app itself."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}, "scopes": ["profile", "messages.read"]}
    answer = await app.call("POST", "/v1/connections", body)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


@pytest.fixture
async def caller(heart: Heart, app: ServiceClient) -> AsyncIterator[ProxyCaller]:
    """The app, on a real connection to the broker."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = serving.configuration(app_of(heart))
    # The heart has a fixture of its own.
    config.lifespan = "off"
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started or running.done())
    port = listener.getsockname()[1]
    headers = {"Authorization": f"Bearer {await app.broker_token()}"}
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
        yield ProxyCaller(http, app, port, headers["Authorization"])
    server.should_exit = server.force_exit = True
    await running
