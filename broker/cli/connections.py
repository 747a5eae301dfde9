"""``broker connections``: what is connected, how it fares, and its end. How one is made or changed: ``changing``; how
many move in and out: ``importing``, ``exporting``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.changing import create, update
from broker.cli.exporting import export
from broker.cli.importing import import_
from broker.cli.one_connection import (
    ConnectionId,
    account_name,
    existing_connection,
    note_missing_providers,
    print_connection,
)
from broker.cli.output import Json, Yes, confirm, note, print_fields, print_json, print_table
from broker.cli.parameters import named_tenant
from broker.cli.session import with_heart
from broker.downstream.api.views import ConnectionList, ConnectionView, DisconnectedView, TestedView
from broker.errors import ReauthRequired
from broker.models.access import DEFAULT_TENANT
from broker.models.connection import Connection, Status

commands = typer.Typer(
    name="connections",
    help="Look at connections, make them of credentials you have, change, move and end them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.command()(create)
commands.command()(update)
commands.command("import")(import_)
commands.command()(export)


@commands.command("list")
def list_(
    subject: Annotated[str | None, typer.Option(help="Only this subject's.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those at this provider.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those with this status.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose connections.", callback=named_tenant)] = DEFAULT_TENANT,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended.")] = None,
    as_json: Json = False,
) -> None:
    """List connections, newest first."""

    def wanted(connection: Connection) -> bool:
        return provider in {None, connection.provider} and status in {None, connection.status}

    async def work(heart: Heart) -> ConnectionList:
        found, next_cursor = await heart.directory.page(
            tenant, subject=subject, wanted=wanted, cursor=cursor, limit=limit
        )
        note_missing_providers(heart, found)
        return ConnectionList(items=[ConnectionView.of(connection) for connection in found], next_cursor=next_cursor)

    page = with_heart(work)
    if as_json:
        print_json(page)
        return
    rows = [(c.id, c.provider, c.subject, account_name(c.account), c.status, c.health.status) for c in page.items]
    print_table(["CONNECTION", "PROVIDER", "SUBJECT", "ACCOUNT", "STATUS", "HEALTH"], rows)
    if page.next_cursor:
        note(f"There are more: --cursor {page.next_cursor}")


@commands.command()
def show(connection_id: ConnectionId, as_json: Json = False) -> None:
    """Show a connection; never its credential."""

    async def work(heart: Heart) -> ConnectionView:
        connection = await existing_connection(heart, connection_id)
        note_missing_providers(heart, [connection])
        return ConnectionView.of(connection)

    print_connection(with_heart(work), as_json=as_json)


@commands.command("test")
def try_out(connection_id: ConnectionId, as_json: Json = False) -> None:
    """Ask the provider whose account it is, with a fresh token."""

    async def work(heart: Heart) -> TestedView:
        connection = await existing_connection(heart, connection_id)
        with _advising(connection):
            account = await heart.lifecycle.test(connection, request_id=None)
        return TestedView.of(connection, account)

    tested = with_heart(work, seals=True)
    if as_json:
        print_json(tested)
    else:
        print_fields(
            {
                "connection": tested.connection_id,
                "status": tested.status,
                "account": account_name(tested.account),
                "detail": tested.detail,
            }
        )


@commands.command()
def refresh(connection_id: ConnectionId, as_json: Json = False) -> None:
    """Refresh the access token now, whatever its age."""

    async def work(heart: Heart) -> ConnectionView:
        connection = await existing_connection(heart, connection_id)
        with _advising(connection):
            return ConnectionView.of(await heart.lifecycle.refresh(connection, request_id=None))

    print_connection(with_heart(work, seals=True), as_json=as_json)


@commands.command()
def delete(connection_id: ConnectionId, yes: Yes = False, as_json: Json = False) -> None:
    """End a connection, and revoke its credential at the provider."""
    confirm(f"Disconnect {connection_id} and revoke it at the provider?", yes=yes)

    async def work(heart: Heart) -> DisconnectedView:
        connection = await existing_connection(heart, connection_id)
        ending = await heart.lifecycle.disconnect(connection, client_id=None, request_id=None)
        return DisconnectedView.of(connection.id, ending)

    ended = with_heart(work, seals=True)
    if as_json:
        print_json(ended)
        return
    upstream = ended.upstream
    answered = f" (HTTP {upstream.status})" if upstream.status else ""
    print_fields(
        {
            "connection": ended.id,
            "status": ended.status,
            "at the provider": f"{upstream.outcome}{answered}",
            "detail": upstream.detail,
        }
    )


@contextmanager
def _advising(connection: Connection) -> Iterator[None]:
    """Where only another credential can bring the connection back, say with which command it gets one."""
    try:
        yield
    except ReauthRequired as error:
        # A disconnected one can't come back; one of the app's own is renewed by nobody's consent.
        if connection.status is Status.REVOKED or connection.credential_type == "client_credentials":
            raise
        if connection.credential_type == "oauth2":
            command = f"broker connect {connection.provider} --connection {connection.id}"
        else:
            command = f"broker connections update {connection.id} --credential"
        raise ReauthRequired(f"{error.detail}: {command}") from None
