"""A connect session as it is shown."""

from typing import Self

from pydantic import BaseModel, Field

from broker.clock import rfc3339
from broker.downstream.api.views.absence import is_absent
from broker.downstream.api.views.connections import ConnectionView
from broker.models.session import ConnectSession, SessionStatus


class ConnectSessionView(BaseModel):
    """Where an attempt stands."""

    id: str
    status: str
    provider: str
    subject: str
    completion: str
    connection_id: str | None
    error: str | None
    error_detail: str | None
    created_at: str | None
    expires_at: str | None

    @classmethod
    def of(cls, session: ConnectSession, now: int) -> Self:
        """The view of ``session`` at ``now``."""
        status = session.status_at(now)
        if status is SessionStatus.EXCHANGING:
            status = SessionStatus.AWAITING_COMPLETION
        return cls(
            id=session.id,
            status=status.value,
            provider=session.provider,
            subject=session.subject,
            completion=session.completion.value,
            connection_id=session.connection_id,
            error=session.error,
            error_detail=session.error_detail,
            created_at=rfc3339(session.created_at),
            expires_at=rfc3339(session.expires_at),
        )


class OpenedConnectSession(BaseModel):
    """A session that was just opened, with the link to send the person to."""

    id: str
    connect_url: str
    status: str
    expires_at: str | None


class CompletedConnectSession(BaseModel):
    """The connection that was made, and a reference to it for a caller that may redeem."""

    connection: ConnectionView
    reference: str | None = Field(default=None, exclude_if=is_absent)
    expires_in: int | None = Field(default=None, exclude_if=is_absent)
