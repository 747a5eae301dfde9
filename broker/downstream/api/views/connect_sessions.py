"""A connect session as it is shown."""

from typing import Self

from pydantic import Field

from broker.clock import rfc3339
from broker.downstream.api.views.absence import is_absent
from broker.downstream.api.views.connections import ConnectionView
from broker.http.described import Absent, Described, Instant
from broker.models.session import Completion, ConnectSession, SessionStatus


class ConnectSessionView(Described):
    """Where an attempt stands."""

    id: str
    status: SessionStatus
    provider: str
    subject: str
    completion: Completion
    """Who confirms the subject."""
    connection_id: str | None
    """The connection it made or renews."""
    error: str | None
    """Why it failed: the provider's OAuth error code, or one of ours."""
    error_detail: str | None
    created_at: Instant | None
    expires_at: Instant | None

    @classmethod
    def of(cls, session: ConnectSession, now: int) -> Self:
        """The view of ``session`` at ``now``."""
        status = session.status_at(now)
        if status is SessionStatus.EXCHANGING:
            status = SessionStatus.AWAITING_COMPLETION
        return cls(
            id=session.id,
            status=status,
            provider=session.provider,
            subject=session.subject,
            completion=session.completion,
            connection_id=session.connection_id,
            error=session.error,
            error_detail=session.error_detail,
            created_at=rfc3339(session.created_at),
            expires_at=rfc3339(session.expires_at),
        )


class OpenedConnectSession(Described):
    """A session that was just opened, with the link to send the person to."""

    id: str
    connect_url: str
    """A secret: whoever opens it can connect their account."""
    status: SessionStatus
    expires_at: Instant | None


class CompletedConnectSession(Described):
    """The connection that was made, and a reference to it for a caller that may redeem."""

    connection: ConnectionView
    """The connection that was made or renewed."""
    reference: str | Absent = Field(default=None, exclude_if=is_absent)
    """To be redeemed once by the caller itself."""
    expires_in: int | Absent = Field(default=None, exclude_if=is_absent)
    """Seconds until the reference ends."""
