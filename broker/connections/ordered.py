"""What a connect session was opened for, as a connection that is wanted."""

from collections.abc import Mapping

from broker.connections.authorization import Wanted
from broker.models.session import ConnectSession
from broker.providers import Provider


def wanted_by(
    session: ConnectSession, provider: Provider, parameters: Mapping[str, str], request_id: str | None
) -> Wanted:
    """The connection that a session was opened for.

    :param parameters: what its person said; what the app said counts more.
    """
    return Wanted(
        tenant=session.tenant,
        client_id=session.client_id,
        subject=session.subject,
        provider=provider,
        credential_type=provider.type,
        requested_scopes=session.scopes,
        parameters={**parameters, **session.parameters},
        label=session.label,
        metadata=session.metadata,
        renews=session.connection_id if session.reconnect else None,
        means="device" if session.device_authorization else "form" if provider.connects_by == "form" else "browser",
        session=session.id,
        allow_account_change=session.allow_account_change,
        request_id=request_id,
        connection_id=None if session.reconnect else session.connection_id,
    )
