"""One lane's world: a store, a practice provider of each kind, brokers that share them, and a service."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx2
from pydantic import SecretStr

from broker.app.heart import Heart, build_heart
from broker.connections.authorization import minted_by
from broker.connections.persistence import until_stored
from broker.models.access import CLIENT_SCOPES
from broker.models.connection import Connection, Credential, Status
from broker.models.event import Event
from broker.models.ids import new_id
from broker.providers import load_providers
from broker.settings import Settings
from broker.vault import names
from tests.chaos.processes import BrokerProcess
from tests.chaos.service import Service
from tests.chaos.stores import LaneStore, lane_store
from tests.processes import sandbox_process

_PROVIDERS = Path(__file__).parent / "providers.yaml"
_KEY = bytes(range(32))
_GRACE = "60"
_SCOPES = ("profile", "messages.read", "messages.write", "offline_access")
_PATIENCE = 20
"""Attempts, up to a second apart."""
Result = TypeVar("Result")
LIFE = 3600
"""Seconds that access tokens live which the provider issues in a run."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection as it is before anything happens to it."""

    id: str
    rotation: str
    expires_at: float
    """Seconds since the epoch; of its first access token."""


class Fleet:
    """Brokers and what they need."""

    def __init__(
        self, heart: Heart, store: LaneStore, providers: dict[str, httpx2.AsyncClient], service: Service
    ) -> None:
        self.heart = heart
        """In this process, to look at the store as a broker does, and to make connections."""
        self.store = store
        self.service = service
        self.victims: list[BrokerProcess] = []
        """Brokers that things happen to."""
        self.other: BrokerProcess
        """The one that goes on."""
        self.setting_up = asyncio.Lock()
        """Held by a course from when it holds the provider's answers until it lets them go."""
        self._providers = providers

    async def connect(self, rotation: str, count: int, *, life: int) -> list[Connected]:
        """Connections whose first access token lives for so many seconds; nobody was asked for consent."""
        provider = self._providers[rotation]
        await self._control(provider, access_token_ttl=life)
        minted = (await provider.post("/control/grants", json={"count": count})).raise_for_status().json()
        await self._control(provider, access_token_ttl=LIFE)
        return list(await asyncio.gather(*(self._store(rotation, tokens, life) for tokens in minted)))

    async def hold_answers(self, *, held: bool) -> None:
        """Have all providers do their work and keep their answers back, or let the answers go."""
        await asyncio.gather(*(self._control(each, hold_token_answers=held) for each in self._providers.values()))

    async def counters(self, rotation: str) -> dict[str, Any]:
        """What a provider was asked."""
        counted: dict[str, Any] = (await self._providers[rotation].get("/counters")).raise_for_status().json()
        return counted

    @property
    def slowest_provider(self) -> float:
        """Seconds that a request to a provider may take at most."""
        return max(provider.timeout for provider in self.heart.providers)

    async def lease_of(self, connection_id: str) -> bytes | None:
        """Who may refresh a connection now."""
        owner: bytes | None = await patiently(lambda: self.heart.store.execute("GET", names.lease(connection_id)))
        return owner

    async def generation_of(self, connection_id: str) -> int | None:
        """Which generation of its credential is stored."""
        found = await patiently(lambda: self.heart.records.read(connection_id))
        return None if found is None else found.generation

    async def _store(self, rotation: str, tokens: dict[str, str], life: int) -> Connected:
        now, heart = int(time.time() * 1000), self.heart
        provider = heart.providers.get(rotation)
        connection = Connection(
            id=new_id("con"),
            tenant="default",
            provider=rotation,
            subject="ann",
            status=Status.ACTIVE,
            credential_type="oauth2",
            generation=1,
            grant_id=new_id("grant"),
            scopes=_SCOPES,
            requested_scopes=_SCOPES,
            minted=minted_by(provider, await heart.upstream.endpoints(provider, {})),
            created_at=now,
            updated_at=now,
            access_token_expires_at=now + life * 1000,
        )
        event = Event("connection.created", "default", now, connection.id)
        credential = Credential(tokens["access_token"], tokens["refresh_token"])
        written = await patiently(lambda: heart.records.create(connection, credential, event))
        assert await written.confirmed
        return Connected(connection.id, rotation, now / 1000 + life)

    async def _control(self, provider: httpx2.AsyncClient, **knobs: object) -> None:
        (await provider.post("/control", json=knobs)).raise_for_status()


async def patiently(ask: Callable[[], Awaitable[Result]]) -> Result:
    """What the store answers, also if it is being killed, or the machine is too busy for its deadline."""
    return await until_stored(ask, what="the run's own", attempts=_PATIENCE)


@asynccontextmanager
async def fleet(rotations: Sequence[str], *, victims: int = 1, replicated: bool = False) -> AsyncIterator[Fleet]:
    """A fleet with a provider for each of these rotations, and so many brokers that things can happen to."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="broker-chaos-", ignore_cleanup_errors=True)))
        urls, store = await asyncio.gather(
            _sandboxes(stack.enter_context(ExitStack()), rotations),
            stack.enter_async_context(lane_store(replicated=replicated)),
        )
        addresses = {f"CHAOS_{rotation.upper()}": url for rotation, url in urls.items()}
        providers = {
            rotation: await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False))
            for rotation, url in urls.items()
        }
        settings = Settings(
            redis_url=SecretStr((await store.line()).url),
            encryption_keys=(("k1", _KEY),),
            data_dir=folder / "data",
            background_enabled=False,
            store_wait_replicas=store.replicas,
        )
        heart = build_heart(settings, load_providers(_PROVIDERS, addresses))
        stack.push_async_callback(heart.aclose, work_ends_within=5)
        client, _ = await patiently(lambda: heart.clients.create("service", scopes=CLIENT_SCOPES))
        bearer = await patiently(lambda: heart.broker_tokens.issue(client, client.scopes))
        built = Fleet(heart, store, providers, Service(bearer.token, providers))
        env = {
            **addresses,
            "BROKER_WORKERS": "1",
            "BROKER_BACKGROUND_ENABLED": "false",
            "BROKER_LOG_LEVEL": "WARNING",
            "BROKER_LOG_FORMAT": "json",
            "BROKER_PROVIDERS_FILE": str(_PROVIDERS),
            "BROKER_ENCRYPTION_KEYS": f"k1:{base64.b64encode(_KEY).decode()}",
            "BROKER_STORE_WAIT_REPLICAS": str(store.replicas),
        }
        built.other = BrokerProcess(folder / "other", env, await store.line(), held=True)
        built.victims += [
            BrokerProcess(folder / f"victim-{number}", env, await store.line(), held=True) for number in range(victims)
        ]
        brokers = [built.other, *built.victims]
        try:
            await asyncio.gather(*(broker.start() for broker in brokers))
            yield built
        finally:
            await asyncio.gather(*(broker.aclose() for broker in brokers), return_exceptions=True)


async def _sandboxes(stack: ExitStack, rotations: Sequence[str]) -> dict[str, str]:
    def start(rotation: str) -> str:
        return stack.enter_context(sandbox_process("--rotation", rotation, "--grace", _GRACE))

    started = await asyncio.gather(*(asyncio.to_thread(start, rotation) for rotation in rotations))
    return dict(zip(rotations, started, strict=True))
