"""Keys rotate while real brokers serve: rings change one by one, tokens are fetched and refreshed, none fails."""

import asyncio
import base64
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.settings import Settings
from broker.vault import names
from tests.connections.practice import behave
from tests.processes import broker_environment, broker_process
from tests.vault.rotating import KEY_1, KEY_2, naming
from tests.waiting import eventually
from tests.world import Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
OLD, NEW = (f"{kid}:{base64.b64encode(key).decode()}" for kid, key in (("k1", KEY_1), ("k2", KEY_2)))
BOTH = f"{NEW},{OLD}"


@pytest.fixture
def variables(settings: Settings, sandbox_url: str) -> dict[str, str]:
    """What the brokers share: the store, and the provider."""
    assert settings.redis_url is not None
    return {
        "BROKER_REDIS_URL": settings.redis_url.get_secret_value(),
        "BROKER_BACKGROUND_ENABLED": "false",
        "BROKER_LOG_LEVEL": "WARNING",
        "PRACTICE": sandbox_url,
    }


class Fleet:
    """Two replicas behind what sends requests only to those that serve and are not about to end."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self._variables = variables
        self._folder = folder
        self._running: dict[str, tuple[str, AsyncExitStack]] = {}
        self._underway: Counter[str] = Counter()

    async def start(self, name: str, keys: str) -> None:
        """Start a replica with this ring, in place of the one of that name; the other one serves meanwhile."""
        if name in self._running:
            url, stack = self._running.pop(name)
            await eventually(lambda: not self._underway[url])
            await stack.aclose()
        stack = AsyncExitStack()
        url = await stack.enter_async_context(_in_thread({**self._variables, "BROKER_ENCRYPTION_KEYS": keys}))
        self._running[name] = url, stack

    async def end(self) -> None:
        """End all."""
        for _, stack in self._running.values():
            await stack.aclose()

    async def post(self, http: httpx2.AsyncClient, turn: int, path: str, **options: Any) -> httpx2.Response:
        """A request to one of those that serve."""
        urls = [url for url, _ in self._running.values()]
        url = urls[turn % len(urls)]
        self._underway[url] += 1
        try:
            return await http.post(f"{url}{path}", **options)
        finally:
            self._underway[url] -= 1

    async def command(self, keys: str, *words: str) -> tuple[int, str, str]:
        """``broker …`` with this ring: exit code, stdout, stderr."""
        environ = broker_environment(self._folder, {**self._variables, "BROKER_ENCRYPTION_KEYS": keys})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broker.cli.main", *words), env=environ, stdout=-1, stderr=-1
        )
        output, said = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), said.decode()


@asynccontextmanager
async def _in_thread(variables: Mapping[str, str]) -> AsyncIterator[str]:
    """A broker whose start and end don't hold up the load."""
    process = broker_process(variables)
    url = await asyncio.to_thread(process.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


class Load:
    """Fetches tokens, and has every one refreshed that it was given, for as long as it runs."""

    def __init__(self, fleet: Fleet, token: str, connections: list[str]) -> None:
        self._fleet = fleet
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connections = connections
        self._ending = False
        self.answers: Counter[int] = Counter()
        self.generations: Counter[str] = Counter()
        self.failures: list[str] = []

    async def __aenter__(self) -> "Load":
        self._http = httpx2.AsyncClient(timeout=60, trust_env=False)
        loops = ((connection, turn) for connection in self._connections for turn in range(2))
        self._tasks = [asyncio.create_task(self._go_on(*each)) for each in loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    async def goes_on(self) -> None:
        """Return when every connection was refreshed since."""
        before = dict(self.generations)
        await eventually(lambda: all(self.generations[one] > before.get(one, 0) for one in self._connections))

    async def _go_on(self, connection: str, turn: int) -> None:
        body: dict[str, int] = {}
        while not self._ending:
            turn += 1
            answer = await self._fleet.post(
                self._http, turn, f"/v1/connections/{connection}/token", headers=self._headers, json=body
            )
            self.answers[answer.status_code] += 1
            if answer.status_code != 200:
                self.failures.append(answer.text)
                return
            generation = answer.json()["generation"]
            self.generations[connection] = max(self.generations[connection], generation)
            body = {} if body else {"stale_generation": generation}


@pytest.mark.timeout(240)  # four starts and ends of a broker, on a machine that may be busy
async def test_keys_rotate_under_load_with_old_and_new_replicas_mixed(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    """While one replica lacks the key it can't write; then all is sealed anew, and no request ever fails."""  # K4, K5
    behave(sandbox, rotation="revoke_on_reuse")
    app = await make_client()
    connections = [(await app.connect(Person(http), subject=f"user {number}"))["id"] for number in range(3)]
    fleet = Fleet(variables, tmp_path)
    try:
        await asyncio.gather(fleet.start("a", OLD), fleet.start("b", BOTH))
        async with Load(fleet, await app.broker_token(), connections) as load:
            await load.goes_on()
            code, _, said = await fleet.command(BOTH, "keys", "rotate", "--json")
            assert (code, "1 of the running broker processes lack it" in said) == (1, True)
            assert raw_store.hget(names.KEYRING, "writer") == b"k1"
            assert naming(raw_store, "k2") == []

            await fleet.start("a", BOTH)
            code, output, said = await fleet.command(BOTH, "keys", "rotate", "--json")
            assert code == 0, said
            rotated = json.loads(output)
            assert (rotated["writer"], rotated["retired"], rotated["unreadable"]) == ("k2", ["k1"], [])
            assert naming(raw_store, "k1") == []

            await fleet.start("b", NEW)
            await load.goes_on()
            assert naming(raw_store, "k1") == []
        assert load.failures == []
        assert set(load.answers) == {200}
        assert sandbox.get("/counters").json()["reuse_detected"] == 0
        for connection in connections:
            generation = raw_store.hget(names.record(connection), "g")
            assert generation is not None
            assert int(generation) >= load.generations[connection] > 3
    finally:
        await fleet.end()
