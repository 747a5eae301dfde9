"""What answers of the JSON face say. No view has a field that could hold a credential, except those made for it."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, Field

from broker.clock import rfc3339
from broker.models.access import Client
from broker.models.connection import Account, Connection, Ending
from broker.models.event import Event
from broker.models.session import ConnectSession, SessionStatus
from broker.providers import Provider


class AccountView(BaseModel):
    """Whose account it is at the provider."""

    id: str
    name: str | None


class FaultView(BaseModel):
    """The last thing that went wrong."""

    code: str
    message: str
    at: str | None


class HealthView(BaseModel):
    """How the credential fares."""

    status: str
    last_checked_at: str | None
    last_refreshed_at: str | None
    consecutive_failures: int
    next_refresh_at: str | None
    last_error: FaultView | None


class ConnectionView(BaseModel):
    """A connection; never its credential."""

    id: str
    provider: str
    subject: str
    tenant: str
    label: str | None
    status: str
    credential_type: str
    scopes: list[str]
    requested_scopes: list[str]
    parameters: Mapping[str, str]
    provider_data: Mapping[str, Any]
    account: AccountView | None
    generation: int
    access_token_expires_at: str | None
    refresh_token_expires_at: str | None
    created_at: str | None
    updated_at: str | None
    last_used_at: str | None
    health: HealthView
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """The view of ``connection``."""
        health, account = connection.health, connection.account
        error = health.last_error
        return cls(
            id=connection.id,
            provider=connection.provider,
            subject=connection.subject,
            tenant=connection.tenant,
            label=connection.label,
            status=connection.status.value,
            credential_type=connection.credential_type,
            scopes=list(connection.scopes),
            requested_scopes=list(connection.requested_scopes),
            parameters=connection.parameters,
            provider_data=connection.provider_data,
            account=AccountView(id=account.id, name=account.name) if account else None,
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
                last_error=FaultView(code=error.code, message=error.message, at=rfc3339(error.at)) if error else None,
            ),
            metadata=connection.metadata,
        )


class ConnectionList(BaseModel):
    """A page of connections, newest first."""

    items: list[ConnectionView]
    next_cursor: str | None


class ConnectSessionView(BaseModel):
    """Where an attempt stands."""

    id: str
    status: str
    provider: str
    subject: str
    completion: str
    connection_id: str | None
    error: str | None
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
            created_at=rfc3339(session.created_at),
            expires_at=rfc3339(session.expires_at),
        )


class OpenedConnectSession(BaseModel):
    """A session that was just opened, with the link to send the person to."""

    id: str
    connect_url: str
    status: str
    expires_at: str | None


def _is_absent(value: object) -> bool:
    return value is None


class CompletedConnectSession(BaseModel):
    """The connection that was made, and a reference to it for a caller that may redeem."""

    connection: ConnectionView
    reference: str | None = Field(default=None, exclude_if=_is_absent)
    expires_in: int | None = Field(default=None, exclude_if=_is_absent)


class TokenView(BaseModel):
    """An access token of the provider."""

    access_token: str
    token_type: str
    expires_in: int | None = None
    scope: str
    connection_id: str
    generation: int


class ReferenceView(BaseModel):
    """A reference that was just issued."""

    reference: str
    expires_in: int


class TestedView(BaseModel):
    """A live test of the credential that went well."""

    connection_id: str
    status: str
    account: AccountView | None
    detail: str | None

    @classmethod
    def of(cls, connection: Connection, account: Account | None) -> Self:
        """The view of a test; without ``account`` the provider could not be asked."""
        return cls(
            connection_id=connection.id,
            status="healthy" if account else "unknown",
            account=AccountView(id=account.id, name=account.name) if account else None,
            detail=None if account else "the provider's entry has no identity call, so nothing could be tested",
        )


class DisconnectedView(BaseModel):
    """A connection that was ended, and what the provider said."""

    class Upstream(BaseModel):
        """What became of the credential at the provider."""

        outcome: str
        status: int | None
        detail: str | None

    id: str
    status: str
    upstream: Upstream

    @classmethod
    def of(cls, connection_id: str, ending: Ending) -> Self:
        """The view of ``ending``."""
        upstream = cls.Upstream(outcome=ending.outcome, status=ending.status, detail=ending.detail)
        return cls(id=connection_id, status="revoked", upstream=upstream)


class ParameterView(BaseModel):
    """Something a connection has to say."""

    label: str
    pattern: str
    default: str | None


class ProviderView(BaseModel):
    """What can be connected."""

    name: str
    display_name: str
    type: str
    grant_types: list[str]
    scopes: Mapping[str, str]
    default_scopes: list[str]
    parameters: Mapping[str, ParameterView]
    redirect_uri: str
    ready: bool
    missing: list[str]

    @classmethod
    def of(cls, provider: Provider, redirect_uri: str) -> Self:
        """The view of ``provider``."""
        return cls(
            name=provider.name,
            display_name=provider.display_name,
            type=provider.type,
            grant_types=list(provider.grant_types),
            scopes=provider.scopes,
            default_scopes=list(provider.default_scopes),
            parameters={
                name: ParameterView(label=rule.label, pattern=rule.pattern, default=rule.default)
                for name, rule in provider.parameters.items()
            },
            redirect_uri=redirect_uri,
            ready=provider.ready,
            missing=list(provider.missing),
        )


class ProviderList(BaseModel):
    """All providers that the client was given."""

    items: list[ProviderView]
    next_cursor: str | None = None


class EventView(BaseModel):
    """One line of the record."""

    id: str
    type: str
    at: str | None
    tenant: str
    connection_id: str | None
    client_id: str | None
    request_id: str | None
    data: Mapping[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        """The view of ``event``."""
        return cls(
            id=event.id,
            type=event.type,
            at=rfc3339(event.at),
            tenant=event.tenant,
            connection_id=event.connection_id,
            client_id=event.client_id,
            request_id=event.request_id,
            data=event.data,
        )


class EventList(BaseModel):
    """A page of events, newest first."""

    items: list[EventView]
    next_cursor: str | None


class ClientView(BaseModel):
    """A client; its secret only in the answer that made it."""

    client_id: str
    name: str
    tenant: str
    scope: str
    return_urls: list[str]
    providers: list[str] | None
    completions: list[str]
    created_at: str | None

    @classmethod
    def of(cls, client: Client) -> Self:
        """The view of ``client``."""
        return cls(**cls.fields_of(client))

    @staticmethod
    def fields_of(client: Client) -> dict[str, Any]:
        """What may be shown of ``client``."""
        return {
            "client_id": client.client_id,
            "name": client.name,
            "tenant": client.tenant,
            "scope": " ".join(client.scopes),
            "return_urls": list(client.return_urls),
            "providers": None if client.providers is None else list(client.providers),
            "completions": ["app", "code", *client.completions],
            "created_at": rfc3339(client.created_at),
        }


class CreatedClient(ClientView):
    """A client that was just made: the only time its secret is shown."""

    client_secret: str

    @classmethod
    def made(cls, client: Client, secret: str) -> Self:
        """The view of a new client."""
        return cls(**cls.fields_of(client), client_secret=secret)


class DeletedClient(BaseModel):
    """A client that is gone."""

    client_id: str
    status: str


class ClientList(BaseModel):
    """All clients of the tenant."""

    items: list[ClientView]
    next_cursor: str | None = None
