"""Metrics: the text that Prometheus reads, with labels whose number is bounded."""

from prometheus_client.parser import text_string_to_metric_families

from broker.observe import metrics


def families() -> dict[str, set[str]]:
    """Metric → names of its labels, as exposed."""
    found = text_string_to_metric_families(metrics.exposition().decode())
    return {family.name: {name for sample in family.samples for name in sample.labels} for family in found}


def test_every_metric_is_exposed_and_parses() -> None:
    """What the operators' guide names is there."""
    assert {
        "broker_requests",
        "broker_request_seconds",
        "broker_tokens_released",
        "broker_refreshes",
        "broker_provider_pauses",
        "broker_provider_paused_until_timestamp_seconds",
        "broker_refreshes_ahead",
        "broker_work_due",
        "broker_connections_made",
        "broker_connections_ended",
        "broker_seals_broken",
        "broker_events_waiting",
    } <= families().keys()


def test_labels_hold_only_what_code_and_configuration_name() -> None:
    """No label holds a subject, a tenant, a client, an address or a path: their number is not ours to bound."""
    metrics.requests.labels("/v1/connections", "200").inc()
    metrics.refreshes.labels("practice", "ok").inc()
    labels = set[str]().union(*families().values())
    assert labels <= {"route", "status", "provider", "outcome", "because", "limit", "le"}


def test_a_status_that_a_provider_made_up_is_counted_by_its_class() -> None:
    """Behind the proxy a provider says what it likes: 429 and 503 are worth a row each, hundreds of others are not."""
    for status in range(200, 600):
        metrics.answered("/made-up", status, 0.001)
    lines = metrics.exposition().decode().splitlines()
    counted = [line for line in lines if line.startswith('broker_requests_total{route="/made-up"')]
    assert len(counted) < 70
    assert {'broker_requests_total{route="/made-up",status="429"} 1.0'} < set(counted)
    [other] = [line for line in counted if 'status="5xx"' in line]
    assert float(other.split()[1]) > 80
