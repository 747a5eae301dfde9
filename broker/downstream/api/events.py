"""``/v1/events`` and ``/v1/connections/{id}/events``: the audit record, newest first."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response

from broker.connections.bookkeeping import Bookkeeping
from broker.downstream.api.bodies import ListEvents
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import EventList, EventView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import NotFound
from broker.models.access import Caller
from broker.models.event import Event
from broker.vault.journal import Journal
from broker.vault.listing import Position, decode_cursor

Entries = list[tuple[Position, Event]]

_SCOPE = "events:read"
_READ_AT_ONCE: Final = 100
_LOOKED_AT_MOST: Final = 2_000
"""How many events one request looks at: a filter that matches little answers a short page and a cursor."""

_OF_TENANT = Operation(
    face=JSON,
    name="list_events",
    method="GET",
    path="/v1/events",
    tag="Events",
    summary="List what happened in the caller's tenant, newest first.",
    scope=_SCOPE,
    query=ListEvents,
    answer=EventList,
)
_OF_CONNECTION = Operation(
    face=JSON,
    name="list_events_of_connection",
    method="GET",
    path="/v1/connections/{connection_id}/events",
    tag="Events",
    summary="List what happened to a connection, newest first.",
    scope=_SCOPE,
    query=ListEvents,
    answer=EventList,
    refuses=(NotFound,),
)


class EventRoutes:
    """Events of the caller's tenant, at the providers it was given."""

    def __init__(self, gate: Gate, journal: Journal, bookkeeping: Bookkeeping) -> None:
        self._gate = gate
        self._journal = journal
        self._bookkeeping = bookkeeping

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [
            self._gate.route(_OF_TENANT, self._of_tenant),
            self._gate.route(_OF_CONNECTION, self._of_connection),
        ]

    async def _of_tenant(self, call: Call) -> Response:
        query = call.query(ListEvents)
        after = decode_cursor(query.cursor) if query.cursor else None
        # What was recorded before this request is in its answer.
        await self._bookkeeping.settle_all()

        async def read(after: Position | None) -> Entries:
            return await self._journal.of_tenant(call.caller.tenant, after, _READ_AT_ONCE)

        return call.answer(await _page(read, after, query, call.caller))

    async def _of_connection(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _SCOPE)
        query = call.query(ListEvents)
        after = decode_cursor(query.cursor) if query.cursor else None
        await self._bookkeeping.settle_connection(connection.id)

        async def read(after: Position | None) -> Entries:
            return await self._journal.of_connection(call.caller.tenant, connection.id, after, _READ_AT_ONCE)

        return call.answer(await _page(read, after, query, call.caller))


async def _page(
    read: Callable[[Position | None], Awaitable[Entries]], after: Position | None, query: ListEvents, caller: Caller
) -> EventList:
    """Up to ``limit`` events that are wanted, and where the next page begins; ``None`` where there is nothing older."""
    items: list[EventView] = []
    looked_at = 0
    while looked_at < _LOOKED_AT_MOST:
        entries = await read(after)
        for position, event in entries:
            # A connection's events of one millisecond have one position: they come together, or some would be lost.
            if len(items) >= query.limit and position != after:
                return EventList(items=items, next_cursor=after.encode() if after else None)
            after = position
            if query.type in {None, event.type} and _within(caller, event):
                items.append(EventView.of(event))
        if len(entries) < _READ_AT_ONCE:
            return EventList(items=items, next_cursor=None)
        looked_at += len(entries)
    return EventList(items=items, next_cursor=after.encode() if after else None)


def _within(caller: Caller, event: Event) -> bool:
    # An event about a connection names its provider. One that does not, such as about a client, is for those who were
    # given all: it may tell of programs and providers that others have nothing to do with.
    return caller.reach.covers_provider(str(event.data.get("provider")))
