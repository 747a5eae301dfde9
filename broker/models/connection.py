"""A connection: one subject's account at one provider, its credential apart from everything that may be shown."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from broker.errors import Conflict, ReauthRequired
from broker.models.account import Account
from broker.models.consent import Consent

Wellbeing = Literal["healthy", "degraded", "unhealthy", "unknown"]


ISSUED: Final = frozenset({"client_credentials", "github_app", "google_service_account"})
"""Credential types whose access tokens are issued again and again, without a refresh token and without a person."""


class Status(StrEnum):
    """What a connection can do now."""

    ACTIVE = "active"
    REAUTH_REQUIRED = "reauth_required"
    DISABLED = "disabled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Whoami:
    """What a provider says of a credential."""

    account: Account
    scopes: tuple[str, ...] | None = None
    """What it may do; ``None``: the provider doesn't say."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The last thing that went wrong with a credential: a code, a safe sentence, and when (ms)."""

    code: str
    message: str
    at: int


@dataclass(frozen=True, slots=True)
class Health:
    """How the credential fared lately. Times in milliseconds since the epoch."""

    last_checked_at: int | None = None
    last_refreshed_at: int | None = None
    consecutive_failures: int = 0
    next_refresh_at: int | None = None
    next_check_at: int | None = None
    """When it is tested if nobody tests, refreshes or uses it meanwhile."""
    last_error: Fault | None = None

    def status_for(self, connection_status: Status) -> Wellbeing:
        """``healthy``, ``degraded``, ``unhealthy`` or ``unknown`` (never checked nor refreshed)."""
        if connection_status in {Status.REAUTH_REQUIRED, Status.REVOKED}:
            return "unhealthy"
        if self.consecutive_failures or self.last_error is not None:
            return "degraded"
        if self.last_checked_at is None and self.last_refreshed_at is None:
            return "unknown"
        return "healthy"


@dataclass(frozen=True, slots=True)
class Minted:
    """The issuer and the OAuth app that a credential came from. It is only ever refreshed with those."""

    issuer: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a disconnected connection's credential at the provider.

    ``outcome``: ``revoked``, ``pending`` (retried for up to a day), ``failed``, ``unsupported``, or
    ``skipped_shared`` (revoking would have ended another connection of the same account).
    """

    outcome: str
    status: int | None
    """The provider's HTTP status, where it answered."""
    detail: str | None


@dataclass(frozen=True, slots=True)
class Credential:
    """The secrets of a connection. Exists only in memory, only as long as it is used."""

    access_token: str = field(repr=False)
    """Empty where there is none: of a user name and a password, say."""
    refresh_token: str | None = field(default=None, repr=False)
    previous_refresh_token: str | None = field(default=None, repr=False)
    """Kept until the refresh token that replaced it has worked once."""
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What was handed in, by name, where the credential is not what an OAuth provider issued."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may repeat: all of it, for the provider knows also what a request doesn't hold."""
        held = (self.access_token, self.refresh_token, self.previous_refresh_token, *self.fields.values())
        return tuple(secret for secret in held if secret)

    def secrets_without(self, public: Collection[str]) -> tuple[str, ...]:
        """:attr:`secrets` without the fields of these names, which may be told: a user's name, say."""
        secret = {name: value for name, value in self.fields.items() if name not in public}
        return replace(self, fields=secret).secrets


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything about a connection that is not a secret. Times in milliseconds since the epoch."""

    id: str
    tenant: str
    provider: str
    subject: str
    status: Status
    credential_type: str
    generation: int
    grant_id: str
    scopes: tuple[str, ...]
    requested_scopes: tuple[str, ...]
    minted: Minted
    created_at: int
    updated_at: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    provider_data: Mapping[str, Any] = field(default_factory=dict)
    account: Account | None = None
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fallback: str | None = None
    """The connection to the same account that serves while this one has to be authorized again."""
    access_token_expires_at: int | None = None
    """``None``: the provider's token does not expire."""
    refresh_token_expires_at: int | None = None
    last_used_at: int | None = None
    health: Health = Health()
    consents: tuple[Consent, ...] = ()
    """One per authorization, the latest last, at most :data:`~broker.models.consent.KEPT`."""

    @property
    def static(self) -> bool:
        """Whether its credential stays as it was handed in, until somebody hands in another."""
        return self.credential_type != "oauth2" and not self.issued

    @property
    def issued(self) -> bool:
        """Whether its access token can be issued anew without a refresh token."""
        return self.credential_type in ISSUED

    def outlives(self, moment: int) -> bool:
        """Whether the access token still lives after ``moment`` (ms)."""
        return self.access_token_expires_at is None or self.access_token_expires_at > moment


@dataclass(frozen=True, slots=True)
class Served:
    """What of a connection matters to whoever puts its credential on a request, in the moment it is released."""

    id: str
    tenant: str
    provider: str
    generation: int
    grant_id: str
    minted: Minted
    credential_type: str = "oauth2"
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def issued(self) -> bool:
        """As :attr:`Connection.issued`."""
        return self.credential_type in ISSUED


def unusable(status: Status) -> Conflict:
    """Why a connection in this status, which is not ``active``, can't be used."""
    match status:
        case Status.DISABLED:
            return Conflict("the connection is switched off")
        case Status.REVOKED:
            return ReauthRequired("the connection was disconnected")
        case _:
            return ReauthRequired("the connection has to be authorized again")
