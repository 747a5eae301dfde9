"""What machines ask: alive, ready, and how it is doing; none of it needs a token or gives anything away."""

import httpx2
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from broker.app.heart import Heart
from tests.journey import MakeClient
from tests.world import Person


async def test_a_broker_with_its_store_is_alive_and_ready(http: httpx2.AsyncClient) -> None:
    """200 to both."""
    alive, ready = await http.get("/livez"), await http.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_broker_without_its_store_is_alive_but_not_ready(http: httpx2.AsyncClient, heart: Heart) -> None:
    """Restarting it would not mend the store; it says why, and when to ask again."""  # R1
    await heart.store.aclose()
    assert (await http.get("/livez")).status_code == 200
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    assert ready.json()["reasons"]
    assert ready.headers["retry-after"]


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [("maxmemory-policy", "allkeys-lru", "evicts keys"), ("appendonly", "no", "append-only file")],
)
async def test_a_store_unfit_for_tokens_is_not_ready(
    http: httpx2.AsyncClient, raw_store: redis.Redis, setting: str, value: str, reason: str
) -> None:
    """It says which setting is wrong, and is ready again once that is mended."""  # R6
    before = raw_store.config_get(setting)[setting] or ""
    raw_store.config_set(setting, value)
    try:
        ready = await http.get("/readyz")
    finally:
        raw_store.config_set(setting, before)
    assert ready.status_code == 503
    assert any(reason in text for text in ready.json()["reasons"])
    assert (await http.get("/readyz")).status_code == 200


async def test_metrics_count_what_happened(
    http: httpx2.AsyncClient, make_client: MakeClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Connections made, tokens released, refreshes and endings, by provider; in the text that Prometheus reads."""

    async def samples() -> dict[tuple[str, str], float]:
        answer = await http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        return {
            (sample.name, sample.labels.get("outcome", "")): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.labels.get("provider") == "practice"
        }

    before = await samples()
    app = await make_client()
    connection = await app.connect(person)
    await app.fetch(connection["id"])
    await app.fetch(connection["id"], stale_generation=1)
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    after = await samples()
    grown = {name: value - before.get(name, 0) for name, value in after.items() if not name[0].endswith("_created")}
    assert {name: growth for name, growth in grown.items() if growth} == {
        ("broker_connections_made_total", ""): 1,
        ("broker_tokens_released_total", ""): 2,
        ("broker_refreshes_total", "ok"): 1,
        ("broker_connections_ended_total", "revoked"): 1,
    }


async def test_metrics_name_nobody(http: httpx2.AsyncClient, make_client: MakeClient, sandbox: httpx2.Client) -> None:
    """No subject, tenant, client or connection is in a label."""  # K1
    app = await make_client(tenant="planted-tenant")
    body = {"provider": "practice", "subject": "planted-subject", "credentials": {}}
    made = (await app.call("POST", "/v1/connections", body)).json()
    await app.fetch(made["id"])
    exposed = (await http.get("/metrics")).text
    for name in ("planted", app.client_id, made["id"], "203.0.113.7"):
        assert name not in exposed


@pytest.fixture
def person(http: httpx2.AsyncClient) -> Person:
    """A person with a browser."""
    return Person(http)
