"""What tests of refreshing ahead at a provider's limit share: one that counts, and bears four requests at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.providers import Registry, load_providers
from tests.upstream.practice_server import Asked, PracticeServer, json_answer, practice_server

_ENTRIES = """
providers:
  practice:
    display_name: Practice
    type: oauth2
    authorization_endpoint: ${PRACTICE}/authorize
    token_endpoint: ${PRACTICE}/token
    client_id: practice-client
    client_secret: practice-secret
    grant_types: [authorization_code, client_credentials]
    refresh: {max_concurrent: 4}
  other:
    extends: practice
    token_endpoint: ${PRACTICE}/other
  regional:
    extends: practice
    token_endpoint: ${PRACTICE}/{region}
    parameters: {region: {label: Region}}
"""
FRESH = json_answer({"access_token": "at-new", "token_type": "Bearer", "expires_in": 3600})


class Counting:
    """An endpoint that answers when told, and counts how many wait for it at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.go.wait()
        await asyncio.sleep(0.005)
        self.inside -= 1
        writer.write(FRESH)
        await writer.drain()


@pytest.fixture
async def server() -> AsyncIterator[PracticeServer]:
    """A provider that issues tokens."""
    async with practice_server() as server:
        for path in ("/token", "/other", "/north", "/south"):
            server.answers[path] = FRESH
        yield server


@pytest.fixture
def providers(server: PracticeServer, tmp_path: Path) -> Registry:
    """Three entries, which bear four requests at once."""
    path = tmp_path / "providers.yaml"
    path.write_text(_ENTRIES)
    return load_providers(path, {"PRACTICE": server.origin})


def asked(server: PracticeServer, path: str = "/token") -> int:
    """How often an endpoint was asked."""
    return sum(each.target == path for each in server.asked)
