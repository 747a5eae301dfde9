"""``broker events``: the audit record."""

import json
from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.connections import existing_connection
from broker.cli.output import Json, note, print_json, print_table
from broker.cli.session import with_heart
from broker.downstream.api.views import EventList, EventView
from broker.models.access import DEFAULT_TENANT
from broker.vault.listing import decode_cursor

commands = typer.Typer()


@commands.command()
def events(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    connection: Annotated[str | None, typer.Option(help="Only those of this connection.", metavar="con_…")] = None,
    tenant: Annotated[str, typer.Option(help="Whose record; a connection has its own.")] = DEFAULT_TENANT,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended.")] = None,
    as_json: Json = False,
) -> None:
    """Show the audit record, newest first."""

    async def work(heart: Heart) -> EventList:
        after = decode_cursor(cursor) if cursor else None
        if connection is None:
            # What was recorded before this command is in its answer.
            await heart.bookkeeping.settle_all()
            found = await heart.journal.of_tenant(tenant, after, limit)
        else:
            its_tenant = (await existing_connection(heart, connection)).tenant
            await heart.bookkeeping.settle_connection(connection)
            found = await heart.journal.of_connection(its_tenant, connection, after, limit)
        return EventList(
            items=[EventView.of(event) for _, event in found],
            next_cursor=found[-1][0].encode() if len(found) >= limit else None,
        )

    page = with_heart(work)
    if as_json:
        print_json(page)
        return
    rows = [(e.at, e.type, e.connection_id, e.client_id, json.dumps(e.data) if e.data else None) for e in page.items]
    print_table(["AT", "EVENT", "CONNECTION", "CLIENT", "DATA"], rows)
    if page.next_cursor:
        note(f"There are more: --cursor {page.next_cursor}")
