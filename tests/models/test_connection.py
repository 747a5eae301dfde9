"""Connections: what their words mean, and that secrets hide from ``repr``."""

import pytest

from broker.models.connection import Credential, Fault, Health, Status
from tests.vault.samples import a_connection


def test_a_credential_does_not_show_in_its_repr() -> None:
    """Tracebacks and logs print reprs."""  # K1
    assert repr(Credential("pat_1", "prt_1", "prt_0")) == "Credential()"


@pytest.mark.parametrize(("expires_at", "outlives"), [(None, True), (1001, True), (1000, False), (999, False)])
def test_a_token_outlives_a_moment_before_its_end(expires_at: int | None, outlives: bool) -> None:
    """At its end it is over; a token without an end outlives everything."""
    assert a_connection(access_token_expires_at=expires_at).outlives(1000) is outlives


@pytest.mark.parametrize(
    ("health", "status", "word"),
    [
        (Health(), Status.ACTIVE, "unknown"),
        (Health(last_checked_at=1), Status.ACTIVE, "healthy"),
        (Health(last_refreshed_at=1), Status.ACTIVE, "healthy"),
        (Health(last_refreshed_at=1, consecutive_failures=1, last_error=Fault("x", "y", 2)), Status.ACTIVE, "degraded"),
        (Health(last_checked_at=1), Status.REAUTH_REQUIRED, "unhealthy"),
        (Health(last_checked_at=1), Status.REVOKED, "unhealthy"),
    ],
)
def test_health_says_how_the_credential_fares(health: Health, status: Status, word: str) -> None:
    """What can't be used is unhealthy, whatever it was before."""
    assert health.status_for(status) == word
