"""Prometheus metrics. Labels take values from the code, the configuration, or the registered statuses of HTTP only, so
their number is bounded, whatever callers and providers say.
"""

import os
from functools import cache
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_REGISTERED: Final = frozenset(HTTPStatus)
_registry: Final = CollectorRegistry()

requests: Final = Counter(
    "broker_requests_total",
    "Requests answered, by route and status; one that a provider made up, by its class.",
    ["route", "status"],
    registry=_registry,
)
request_seconds: Final = Histogram(
    "broker_request_seconds",
    "Time to answer a request.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=_registry,
)
tokens_released: Final = Counter(
    "broker_tokens_released_total", "Access tokens released, by provider.", ["provider"], registry=_registry
)
checks: Final = Counter(
    "broker_checks_total", "Tests of idle connections, by outcome.", ["provider", "outcome"], registry=_registry
)
proxied: Final = Counter(
    "broker_proxied_total",
    "Answers of providers that the proxy passed back, by provider and class of status.",
    ["provider", "status"],
    registry=_registry,
)
refreshes: Final = Counter(
    "broker_refreshes_total",
    "Refresh requests to providers, by outcome.",
    ["provider", "outcome"],
    registry=_registry,
)
commits_unconfirmed: Final = Counter(
    "broker_commits_unconfirmed_total",
    "Credentials that too few replicas of the store had in time; repeated until they have them.",
    registry=_registry,
)
provider_pauses: Final = Counter(
    "broker_provider_pauses_total",
    "Pauses that began at a provider's token endpoint: it refused us, or failed.",
    ["provider", "because"],
    registry=_registry,
)
provider_paused_until: Final = Gauge(
    "broker_provider_paused_until_timestamp_seconds",
    "Until when the latest pause at the provider lasts, in seconds since the epoch; a time that is past: none.",
    ["provider"],
    registry=_registry,
    multiprocess_mode="max",
)
refreshes_ahead: Final = Counter(
    "broker_refreshes_ahead_total",
    "Connections that came due to be refreshed by themselves, by what was done.",
    ["provider", "outcome"],
    registry=_registry,
)
work_due: Final = Gauge(
    "broker_work_due",
    "Work that is due and that nobody has begun, at the last look: refreshes ahead for the most part.",
    registry=_registry,
    multiprocess_mode="mostrecent",
)
rate_limits: Final = Counter(
    "broker_rate_limits_total",
    "Calls over a rate limit, or that the store could not count, by limit.",
    ["limit", "outcome"],
    registry=_registry,
)
connections_made: Final = Counter(
    "broker_connections_made_total", "Connections made or renewed.", ["provider"], registry=_registry
)
connections_ended: Final = Counter(
    "broker_connections_ended_total",
    "Connections disconnected, by what became of the credential.",
    ["provider", "outcome"],
    registry=_registry,
)
device_logins: Final = Counter(
    "broker_device_logins_total",
    "Device logins begun (native, bridge), approved, denied, collected; reused: a refresh token came back.",
    ["provider", "outcome"],
    registry=_registry,
)
seals_broken: Final = Counter(
    "broker_seals_broken_total", "Stored secrets that could not be opened. Alert on any.", registry=_registry
)
events_waiting: Final = Gauge(
    "broker_events_waiting",
    "Audit events written and not yet in the journal.",
    registry=_registry,
    multiprocess_mode="mostrecent",
)


_requests_of: Final = cache(lambda route, status: requests.labels(route, _said(status)))
_seconds_of: Final = cache(request_seconds.labels)
_releases_of: Final = cache(tokens_released.labels)


def released(provider: str) -> None:
    """Count a token that was released."""
    _releases_of(provider).inc()


def answered(route: str, status: int, seconds: float) -> None:
    """Count a request. Routes and statuses are few, so their counters are looked up once."""
    _requests_of(route, status).inc()
    _seconds_of(route).observe(seconds)


def _said(status: int) -> str:
    return str(status) if status in _REGISTERED else f"{status // 100}xx"


def exposition() -> bytes:
    """All metrics in the Prometheus text format; of every worker where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return generate_latest(merged)
    return generate_latest(_registry)
