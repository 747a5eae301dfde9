"""A connection as it is shown: its account, its health, never its credential."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from broker.clock import rfc3339
from broker.http.described import Described, Instant
from broker.models.account import Account
from broker.models.connection import Connection, Ending, Status, Wellbeing
from broker.models.consent import Consent, Means


class AccountView(Described):
    """Whose account it is at the provider."""

    id: str
    """Stable, as the provider says it."""
    name: str | None
    """For people."""


class FaultView(Described):
    """The last thing that went wrong."""

    code: str
    message: str
    at: str | None


class HealthView(Described):
    """How the credential fares."""

    status: Wellbeing
    """``degraded``: it works, but something failed since. ``unknown``: never checked nor refreshed."""
    last_checked_at: Instant | None
    last_refreshed_at: Instant | None
    consecutive_failures: int
    """Refreshes that failed since the last one that did not."""
    next_refresh_at: Instant | None
    """When it is refreshed ahead of its end, asked or not."""
    next_check_at: Instant | None
    """When it is tested if nobody tests, refreshes or uses it meanwhile."""
    last_error: FaultView | None


class ConsentView(Described):
    """One authorization of a connection, as it was given."""

    at: Instant | None
    means: Means
    """``browser``: approved at the provider. ``form``: a credential, handed in by its person on the broker's page.
    ``device``: approved for a machine without a screen. ``api``: a credential that a program or an operator handed in.
    ``import``: taken over from another system."""
    session: str | None
    """The connect session (``cs_…``), device authorization (``da_…``) or batch (``imp_…``) it came through."""
    client_id: str | None
    """The client that asked for it; ``null``: the operator, by a command."""
    account: AccountView | None
    """The account it was given with; ``null``: nobody knows."""
    requested_scopes: list[str]
    granted_scopes: list[str]
    missing_scopes: list[str]
    """What was asked for and not granted."""

    @classmethod
    def of(cls, consent: Consent) -> Self:
        """The view of ``consent``."""
        return cls(
            at=rfc3339(consent.at),
            means=consent.means,
            session=consent.session,
            client_id=consent.client_id,
            account=_account(consent.account),
            requested_scopes=list(consent.requested),
            granted_scopes=list(consent.granted),
            missing_scopes=list(consent.missing),
        )


class ConnectionView(Described):
    """A connection; never its credential."""

    id: str
    provider: str
    subject: str
    """Whose it is, as the calling app names them."""
    tenant: str
    label: str | None
    status: Status
    credential_type: str
    """What kind of credential it is: the provider's type, or ``client_credentials``."""
    scopes: list[str]
    """What the person granted."""
    requested_scopes: list[str]
    """What they were asked for."""
    consents: list[ConsentView]
    """Each authorization, newest first: at most 20. Empty where an earlier version made the connection."""
    parameters: Mapping[str, str]
    """The provider's parameters that it was made with."""
    provider_data: Mapping[str, Any]
    """What the provider said beside the token that its entry keeps."""
    account: AccountView | None
    """``null``: the provider can't be asked, or was not."""
    generation: int
    """Counts the credentials: one more after each refresh."""
    access_token_expires_at: Instant | None
    """``null``: it has no end."""
    refresh_token_expires_at: Instant | None
    created_at: Instant | None
    updated_at: Instant | None
    last_used_at: Instant | None
    health: HealthView
    fallback: str | None
    """The connection to the same account that serves while this one has to be authorized again."""
    metadata: Mapping[str, Any]
    """The app's own notes, as they were given."""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """The view of ``connection``."""
        health = connection.health
        error = health.last_error
        return cls(
            id=connection.id,
            provider=connection.provider,
            subject=connection.subject,
            tenant=connection.tenant,
            label=connection.label,
            status=connection.status,
            credential_type=connection.credential_type,
            scopes=list(connection.scopes),
            requested_scopes=list(connection.requested_scopes),
            parameters=connection.parameters,
            provider_data=connection.provider_data,
            consents=[ConsentView.of(consent) for consent in reversed(connection.consents)],
            account=_account(connection.account),
            generation=connection.generation,
            access_token_expires_at=rfc3339(connection.access_token_expires_at),
            refresh_token_expires_at=rfc3339(connection.refresh_token_expires_at),
            created_at=rfc3339(connection.created_at),
            updated_at=rfc3339(connection.updated_at),
            last_used_at=rfc3339(connection.last_used_at),
            health=HealthView(
                status=health.status_for(connection.status),
                last_checked_at=rfc3339(health.last_checked_at),
                last_refreshed_at=rfc3339(health.last_refreshed_at),
                consecutive_failures=health.consecutive_failures,
                next_refresh_at=rfc3339(health.next_refresh_at),
                next_check_at=rfc3339(health.next_check_at),
                last_error=FaultView(code=error.code, message=error.message, at=rfc3339(error.at)) if error else None,
            ),
            fallback=connection.fallback,
            metadata=connection.metadata,
        )


class ConnectionList(Described):
    """A page of connections, newest first."""

    items: list[ConnectionView]
    next_cursor: str | None
    """``cursor`` of the next page; ``null``: there is none."""


class TestedView(Described):
    """A live test of the credential that went well."""

    connection_id: str
    status: Literal["healthy", "unknown"]
    account: AccountView | None
    detail: str | None
    """Why it is unknown."""

    @classmethod
    def of(cls, connection: Connection, account: Account | None) -> Self:
        """The view of a test; without ``account`` the provider could not be asked."""
        return cls(
            connection_id=connection.id,
            status="healthy" if account else "unknown",
            account=_account(account),
            detail=None if account else "the provider can't be asked whose account it is, so nothing could be tested",
        )


class DisconnectedView(Described):
    """A connection that was ended, and what the provider said."""

    class Upstream(Described):
        """What became of the credential at the provider."""

        outcome: str
        """``revoked``, ``pending`` (retried for up to a day), ``failed``, ``unsupported``, or ``skipped_shared``
        (revoking would have ended another connection of the same account)."""
        status: int | None
        """Of the provider's answer, where there was one."""
        detail: str | None

    id: str
    status: Literal["revoked"]
    upstream: Upstream

    @classmethod
    def of(cls, connection_id: str, ending: Ending) -> Self:
        """The view of ``ending``."""
        upstream = cls.Upstream(outcome=ending.outcome, status=ending.status, detail=ending.detail)
        return cls(id=connection_id, status="revoked", upstream=upstream)


def _account(account: Account | None) -> AccountView | None:
    return AccountView(id=account.id, name=account.name) if account else None
