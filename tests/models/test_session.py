"""Connect sessions: when an attempt counts as over."""

from dataclasses import replace

import pytest

from broker.models.session import ENDED, Completion, ConnectSession, SessionStatus


def a_session(status: SessionStatus) -> ConnectSession:
    """A session whose step must happen before 1000."""
    return ConnectSession(
        id="cs_1", tenant="acme", client_id="cl_1", client_name="app", provider="practice", subject="ann",
        completion=Completion.APP, scopes=(), created_at=0, expires_at=1000, status=status,
    )  # fmt: skip


@pytest.mark.parametrize("status", sorted(set(SessionStatus) - ENDED))
def test_what_has_not_ended_in_time_has_expired(status: SessionStatus) -> None:
    """Nothing has to write the end down: the time tells."""
    assert a_session(status).status_at(999) is status
    assert a_session(status).status_at(1000) is SessionStatus.EXPIRED


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_end_is_an_end(status: SessionStatus) -> None:
    """A session that was completed in time does not expire afterwards."""
    assert a_session(status).status_at(10_000) is status


def test_the_apps_state_does_not_show_in_its_repr() -> None:
    """It binds the app's own browser session, as a secret does."""
    assert "canary" not in repr(replace(a_session(SessionStatus.PENDING), state="canary"))
