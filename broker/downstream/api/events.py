"""``/v1/events`` and ``/v1/connections/{id}/events``: the audit record, newest first."""

from starlette.responses import Response
from starlette.routing import Route

from broker.connections.bookkeeping import Bookkeeping
from broker.downstream.api.bodies import ListEvents
from broker.downstream.api.gate import Call, Gate, answer
from broker.downstream.api.views import EventList, EventView
from broker.models.access import Caller
from broker.models.event import Event
from broker.vault.journal import Journal
from broker.vault.listing import Position, decode_cursor

_SCOPE = "events:read"


class EventRoutes:
    """Events of the caller's tenant, at the providers it was given."""

    def __init__(self, gate: Gate, journal: Journal, bookkeeping: Bookkeeping) -> None:
        self._gate = gate
        self._journal = journal
        self._bookkeeping = bookkeeping

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            self._gate.route("GET", "/v1/events", _SCOPE, self._of_tenant),
            self._gate.route("GET", "/v1/connections/{connection_id}/events", _SCOPE, self._of_connection),
        ]

    async def _of_tenant(self, call: Call) -> Response:
        query = call.query(ListEvents)
        after = decode_cursor(query.cursor) if query.cursor else None
        # What was recorded before this request is in its answer.
        await self._bookkeeping.settle_all()
        found = await self._journal.of_tenant(call.caller.tenant, after, query.limit)
        return answer(_page(found, query, call.caller))

    async def _of_connection(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _SCOPE)
        query = call.query(ListEvents)
        after = decode_cursor(query.cursor) if query.cursor else None
        await self._bookkeeping.settle_connection(connection.id)
        found = await self._journal.of_connection(call.caller.tenant, connection.id, after, query.limit)
        return answer(_page(found, query, call.caller))


def _page(found: list[tuple[Position, Event]], query: ListEvents, caller: Caller) -> EventList:
    shown = [event for _, event in found if query.type in {None, event.type} and _within(caller, event)]
    full = len(found) >= query.limit
    return EventList(
        items=[EventView.of(event) for event in shown],
        next_cursor=found[-1][0].encode() if full else None,
    )


def _within(caller: Caller, event: Event) -> bool:
    # An event about a connection names its provider; one that did not would be for those who were given all.
    return event.connection_id is None or caller.reach.covers_provider(str(event.data.get("provider")))
