"""The fleet: real worker processes, an expired token, everybody at once, and an end in the middle."""

import asyncio
import base64
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from broker.settings import Settings
from broker.vault import names
from tests.connections.practice import behave, let_answers_go, refreshes
from tests.processes import broker_process, broker_to_signal
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
FETCHES, WORKERS = 300, 4


@pytest.fixture
def variables(settings: Settings, sandbox_url: str) -> dict[str, str]:
    """What makes broker processes replicas of the one in this process: the same store, keys and providers."""
    assert settings.redis_url is not None
    assert settings.encryption_keys is not None
    keys = (f"{kid}:{base64.b64encode(key).decode()}" for kid, key in settings.encryption_keys)
    return {
        "BROKER_WORKERS": str(WORKERS),
        "BROKER_REDIS_URL": settings.redis_url.get_secret_value(),
        "BROKER_ENCRYPTION_KEYS": ",".join(keys),
        "BROKER_BACKGROUND_ENABLED": "false",
        "BROKER_LOG_LEVEL": "WARNING",
        "PRACTICE": sandbox_url,
    }


async def test_a_fleet_refreshes_an_expired_token_once(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
    variables: dict[str, str],
) -> None:
    """4 workers, 300 fetches at once, reuse would end the grant: one refresh, 300 times the same good token."""  # F5
    behave(sandbox, rotation="revoke_on_reuse", access_token_ttl=60)
    app = await make_client()
    clock.advance(seconds=-120)  # so that for the workers, who have real time, the token has expired
    connection = await app.connect(Person(http))
    clock.advance(seconds=120)
    token = await app.broker_token()
    behave(sandbox, access_token_ttl=3600, token_delay_ms=300, reset_counters=True)

    def fetch(fleet: httpx2.AsyncClient) -> Awaitable[httpx2.Response]:
        bearer = {"Authorization": f"Bearer {token}"}
        return fleet.post(f"/v1/connections/{connection['id']}/token", headers=bearer, json={})

    limits = httpx2.Limits(max_connections=FETCHES, max_keepalive_connections=0)
    with broker_process(variables) as url:
        async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=60, trust_env=False) as fleet:
            answers = await asyncio.gather(*(fetch(fleet) for _ in range(FETCHES)))
        served_by = sum(client["name"] == "broker" for client in raw_store.client_list()) - 1  # one is this process's
        assert served_by > 1
    assert [answer.status_code for answer in answers] == [200] * FETCHES
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    assert {answer.json()["generation"] for answer in answers} == {2}
    counters: dict[str, Any] = sandbox.get("/counters").json()
    assert counters["token"]["refresh_token"] == {"ok": 1, "error": 0}
    assert counters["reuse_detected"] == 0
    bearer = {"Authorization": f"Bearer {answers[0].json()['access_token']}"}
    assert httpx2.get(f"{sandbox.base_url}/api/messages", headers=bearer).status_code == 200


async def test_a_broker_that_is_ended_in_the_middle_of_a_refresh_stores_what_comes_of_it(
    make_client: MakeClient,
    http: httpx2.AsyncClient,
    sandbox: httpx2.Client,
    clock: FakeClock,
    raw_store: redis.Redis,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    """Told twice to end, it waits for no request, but for the rotated token: no other one works any more."""  # F3
    behave(sandbox, rotation="strict", access_token_ttl=60)
    app = await make_client()
    clock.advance(seconds=-120)
    connection = await app.connect(Person(http))
    clock.advance(seconds=120)
    bearer = {"Authorization": f"Bearer {await app.broker_token()}"}
    path = f"/v1/connections/{connection['id']}/token"
    behave(sandbox, access_token_ttl=3600, hold_token_answers=True, reset_counters=True)
    one = variables | {"BROKER_WORKERS": "1"}

    with broker_to_signal(one, log=tmp_path / "log") as (url, process):
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as face:
            fetch = asyncio.create_task(face.post(path, headers=bearer, json={}))
            await eventually(lambda: refreshes(sandbox) == (1, 0))  # rotated, and not answered yet
            while not fetch.done():  # a second signal within a second is the same wish
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.2)
            let_answers_go(sandbox)
            answers = await asyncio.gather(fetch, return_exceptions=True)
            assert await asyncio.to_thread(process.wait, 60) == 0
        assert not any(isinstance(answer, httpx2.Response) and answer.status_code == 200 for answer in answers)
    assert raw_store.hget(names.record(connection["id"]), "g") == b"2"
    assert "work.unfinished" not in (tmp_path / "log").read_text()

    with broker_process(one) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as face:
            for body in ({}, {"stale_generation": 2}):
                assert (await face.post(path, headers=bearer, json=body)).status_code == 200
    assert sandbox.get("/counters").json()["token"]["refresh_token"] == {"ok": 2, "error": 0}
