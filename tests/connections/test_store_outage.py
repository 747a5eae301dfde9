"""The store is down at the start, goes away, or stalls in the middle: 503 with a reason, and back by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.vault.redis.embedded import EmbeddedStore
from tests.connections.practice import refreshes
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.servers import valkey
from tests.waiting import LoopTime, eventually
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
_ACCOUNTS = ("alice@practice.example", "bob@practice.example")


@asynccontextmanager
async def faces_of(heart: Heart) -> AsyncIterator[httpx2.AsyncClient]:
    """The faces of a heart, which is closed afterwards."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(heart)), base_url=PUBLIC_URL) as http:
        yield http
    await heart.aclose(work_ends_within=5)


@pytest.fixture
async def proxy(store_server: EmbeddedStore) -> AsyncIterator[FaultyProxy]:
    """A proxy before the store."""
    async with FaultyProxy(store_server.url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: FaultyProxy, settings: Settings, providers: Registry, clock: FakeClock) -> Heart:
    """A heart that reaches the store through ``proxy``."""
    url = SecretStr(f"redis://{proxy.address}")
    return build_heart(settings.model_copy(update={"redis_url": url}), providers, clock)


async def test_a_store_that_is_down_at_boot_is_waited_for(
    settings: Settings, providers: Registry, clock: FakeClock, tmp_path: Path
) -> None:
    """Live, not ready, every face 503 with Retry-After; once the store starts, all works without a restart."""  # R1
    store = EmbeddedStore(tmp_path / "store")
    heart = build_heart(settings.model_copy(update={"redis_url": SecretStr(store.url)}), providers, clock)
    async with faces_of(heart) as http:
        assert (await http.get("/livez")).status_code == 200
        not_ready = await http.get("/readyz")
        assert not_ready.status_code == 503
        assert not_ready.json()["reasons"] == ["the store can't be reached"]
        bearer = {"Authorization": "Bearer bat_x"}
        form = {"grant_type": "client_credentials", "client_id": "cl_" + "0" * 22, "client_secret": "x"}
        for answer in (
            await http.get("/v1/connections", headers=bearer),
            await http.post("/v1/connections/con_0000000000000000000001/token", headers=bearer),
            await http.post("/oauth/token", data=form),
            await http.get("/connect/ch_0000000000000000000001_" + "0" * 43),
        ):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) >= 1
        store.start()
        try:
            assert (await http.get("/readyz")).json() == {"status": "ready"}
            assert (await http.get("/v1/connections", headers=bearer)).status_code == 401
            client, secret = await heart.clients.create("app", scopes=("connect",))
            assert (await ServiceClient(http, client.client_id, secret).broker_token()).startswith("bat_")
        finally:
            store.stop()


@pytest.mark.parametrize("fault", ["gone", "stalled"])
async def test_a_store_that_fails_mid_request_is_a_503_by_the_deadline(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    proxy: FaultyProxy,
    behind: Heart,
    loop_time: LoopTime,
    fault: str,
) -> None:
    """Fetches answer 503 with Retry-After and the provider isn't bothered; afterwards they go on."""  # R2
    owner = await make_client()
    connection = await owner.connect(Person(http))
    async with faces_of(behind) as face:
        app = ServiceClient(face, owner.client_id, owner.secret)
        assert (await app.fetch(connection["id"])).status_code == 200
        if fault == "gone":
            await proxy.cut()
        else:
            proxy.stall_answers()
        fetches = asyncio.gather(*(app.fetch(connection["id"], min_ttl=n) for n in range(10)))
        for answer in await loop_time.hurry(fetches):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await loop_time.hurry(face.get("/readyz"))).status_code == 503
        assert (await face.get("/livez")).status_code == 200
        if fault == "gone":
            await proxy.heal()
        else:
            proxy.release_answers()
        assert (await app.fetch(connection["id"])).status_code == 200
        assert (await face.get("/readyz")).status_code == 200
    assert refreshes(sandbox) == (0, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"), "noeviction is needed"),
        (("--appendonly", "no"), "appendonly yes is needed"),
    ],
    ids=["evicting", "without a file"],
)
async def test_an_unfit_store_keeps_the_broker_from_being_ready(
    settings: Settings, providers: Registry, clock: FakeClock, options: tuple[str, ...], said: str
) -> None:
    """/readyz says what has to be changed; requests are refused with the same reason."""  # R6
    with valkey(*options) as url:
        heart = build_heart(settings.model_copy(update={"redis_url": SecretStr(url)}), providers, clock)
        async with faces_of(heart) as http:
            ready = await http.get("/readyz")
            assert ready.status_code == 503
            assert said in ready.json()["reasons"][0]
            refused = await http.get("/v1/connections", headers={"Authorization": "Bearer bat_x"})
            assert (refused.status_code, said in refused.json()["detail"]) == (503, True)


async def test_a_caller_that_gives_up_harms_nobody(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    proxy: FaultyProxy,
    behind: Heart,
) -> None:
    """Of fetches of two connections through a slow store half are cancelled: the others get their own tokens."""  # R4
    owner = await make_client()
    connections = [await owner.connect(Person(http, account)) for account in _ACCOUNTS]
    own = [(await owner.fetch(connection["id"])).json()["access_token"] for connection in connections]
    async with faces_of(behind) as face:
        app = ServiceClient(face, owner.client_id, owner.secret)
        await app.broker_token()
        proxy.stall_answers()
        asked = len(proxy.asked)
        tasks = [asyncio.create_task(app.fetch(connections[n % 2]["id"])) for n in range(100)]
        await eventually(lambda: len(proxy.asked) > asked)
        for task in tasks[::3]:
            task.cancel()
        proxy.release_answers()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(answers):
            if number % 3:
                assert isinstance(answer, httpx2.Response)
                assert answer.json()["access_token"] == own[number % 2]
            else:
                assert isinstance(answer, asyncio.CancelledError)
