"""A connect session: one attempt to make or renew a connection in a browser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class SessionStatus(StrEnum):
    """Where an attempt stands. ``EXCHANGING`` is shown to callers as ``awaiting_completion``."""

    PENDING = "pending"
    AUTHORIZING = "authorizing"
    AWAITING_COMPLETION = "awaiting_completion"
    EXCHANGING = "exchanging"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"


ENDED: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.EXPIRED})


class Completion(StrEnum):
    """Who confirms that the person who approved is the person the session was opened for, and when."""

    APP = "app"
    """The app, which knows who is signed in, before the code is redeemed."""
    CODE = "code"
    """As ``app``, with a short code that the person carries back themselves."""
    BROWSER = "browser"
    """The browser that pressed the button; only for clients registered for it."""
    DEVICE = "device"
    """The browser that pressed the button, for a machine that shows its code; no client asks for it."""


@dataclass(frozen=True, slots=True)
class ConnectSession:
    """What a connect session knows. Secrets are digests here; the sealed ones never leave the vault unasked."""

    id: str
    tenant: str
    client_id: str
    client_name: str
    provider: str
    subject: str
    completion: Completion
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int
    """When the present step must have happened (ms)."""
    status: SessionStatus = SessionStatus.PENDING
    handle_digest: str = ""
    subject_name: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    return_url: str | None = None
    state: str | None = field(default=None, repr=False)
    """The app's own ``state``, echoed to ``return_url``."""
    device_authorization: str | None = None
    """The device authorization that it was opened for (completion ``device``)."""
    connection_id: str | None = None
    """The connection to renew, or the id that is drawn for a new one; later the connection that was made."""
    reconnect: bool = False
    allow_account_change: bool = False
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    browser_digest: str = ""
    state_digest: str = ""
    expected_issuer: str = ""
    """The ``iss`` recorded before the browser left (RFC 9207); empty where none is known."""
    issuer_required: bool = False
    """Whether the provider says that it always sends ``iss``."""
    wrong_codes: int = 0
    error: str | None = None
    error_detail: str | None = None
    """What the provider, or the step that failed, said about it: printable, at most 200 characters, no secret."""

    def status_at(self, now: int) -> SessionStatus:
        """The status at ``now``: what has not ended by ``expires_at`` has expired."""
        if self.status not in ENDED and now >= self.expires_at:
            return SessionStatus.EXPIRED
        return self.status
