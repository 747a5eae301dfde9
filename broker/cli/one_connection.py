"""One connection: found by its id, and shown to people."""

from collections.abc import Iterable
from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.output import note, print_fields, print_json
from broker.downstream.api.views import AccountView, ConnectionView, ConsentView
from broker.errors import NotFound
from broker.models.connection import Connection, Status
from broker.models.ids import is_id

ConnectionId = Annotated[str, typer.Argument(metavar="CONNECTION_ID", help="con_…")]


async def existing_connection(heart: Heart, connection_id: str) -> Connection:
    """The connection with this id.

    :raises NotFound: there is none.
    """
    connection = await heart.records.read(connection_id) if is_id("con", connection_id) else None
    if connection is None:
        raise NotFound("no such connection")
    return connection


def note_missing_providers(heart: Heart, connections: Iterable[Connection]) -> None:
    """Say beside the output for which providers of these connections the providers file has no entry."""
    used = {each.provider for each in connections if each.status is not Status.REVOKED}
    for provider in sorted(used.difference(heart.providers.names)):
        file = heart.settings.providers_file
        note(f"{file} has no entry {provider}: a broker with this file can't use its connections, only end them")


def account_name(account: AccountView | None) -> str | None:
    """How people know whose it is."""
    return (account.name or account.id) if account else None


def print_connection(connection: ConnectionView, *, as_json: bool) -> None:
    """All that is known of it; never its credential."""
    if as_json:
        print_json(connection)
        return
    error = connection.health.last_error
    print_fields(
        {
            "connection": connection.id,
            "provider": connection.provider,
            "account": account_name(connection.account),
            "subject": connection.subject,
            "tenant": connection.tenant,
            "label": connection.label,
            "status": connection.status,
            "credential": connection.credential_type,
            "fallback": connection.fallback,
            "scopes": " ".join(connection.scopes),
            "generation": str(connection.generation),
            "access token until": connection.access_token_expires_at,
            "created at": connection.created_at,
            "last used at": connection.last_used_at,
            "health": connection.health.status,
            "last refreshed at": connection.health.last_refreshed_at,
            "last tested at": connection.health.last_checked_at,
            "refreshed next at": connection.health.next_refresh_at,
            "tested next at": connection.health.next_check_at,
            "last error": f"{error.code}: {error.message}" if error else None,
            **{_consented(position): _consent(each) for position, each in enumerate(connection.consents)},
        }
    )


def _consented(position: int) -> str:
    return "consent" if position == 0 else f"consent before {position}"


def _consent(consent: ConsentView) -> str:
    """When it was given, how, and what for: asked against granted where they differ."""
    through = f" through {consent.session}" if consent.session else ""
    granted = " ".join(consent.granted_scopes) or "no scopes known"
    missing = f"; asked for and not granted: {' '.join(consent.missing_scopes)}" if consent.missing_scopes else ""
    return f"{consent.at} by {consent.means}{through}: {granted}{missing}"
