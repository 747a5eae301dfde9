"""``broker events``: the audit record."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.one_connection import existing_connection
from broker.cli.output import Json, note, print_json, print_table
from broker.cli.parameters import named_tenant
from broker.cli.session import with_heart
from broker.downstream.api.views import EventList, EventView
from broker.models.access import DEFAULT_TENANT
from broker.models.event import Event
from broker.vault.listing import Position, decode_cursor

commands = typer.Typer()

_Read = Callable[[Position | None, int], Awaitable[list[tuple[Position, Event]]]]
"""So many events, older than a position."""


@commands.command()
def events(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    connection: Annotated[str | None, typer.Option(help="Only those of this connection.", metavar="con_…")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only those of this type: token.released, …")] = None,
    tenant: Annotated[
        str, typer.Option(help="Whose record; a connection has its own.", callback=named_tenant)
    ] = DEFAULT_TENANT,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended.")] = None,
    as_json: Json = False,
) -> None:
    """Show the audit record, newest first."""

    async def work(heart: Heart) -> tuple[EventList, int]:
        after = decode_cursor(cursor) if cursor else None
        read = await _reader(heart, tenant, connection)
        # What was recorded before this command is in what it shows, unless the sink doesn't take it.
        waiting = await heart.bookkeeping.bring_in(connection)
        while True:
            found = await read(after, limit)
            after = found[-1][0] if len(found) >= limit else None
            shown = [EventView.of(event) for _, event in found if type_ in {None, event.type}]
            # A page without any such event is no answer while there are older ones.
            if shown or after is None:
                return EventList(items=shown, next_cursor=after.encode() if after else None), waiting

    page, waiting = with_heart(work)
    if waiting:
        note(f"Not shown yet: events that wait for the events sink, or for a broker to move them ({waiting}).")
    if as_json:
        print_json(page)
        return
    rows = [(e.at, e.type, e.connection_id, e.client_id, json.dumps(e.data) if e.data else None) for e in page.items]
    print_table(["AT", "EVENT", "CONNECTION", "CLIENT", "DATA"], rows)
    if page.next_cursor:
        note(f"There are more: --cursor {page.next_cursor}")


async def _reader(heart: Heart, tenant: str, connection: str | None) -> _Read:
    """Reads the record of the tenant, or of one connection."""
    if connection is None:
        return partial(heart.journal.of_tenant, tenant)
    its_tenant = (await existing_connection(heart, connection)).tenant
    return partial(heart.journal.of_connection, its_tenant, connection)
