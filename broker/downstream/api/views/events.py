"""The audit record as it is shown."""

from collections.abc import Mapping
from typing import Any, Self

from broker.http.described import Described
from broker.models.event import Event


class EventView(Described):
    """One line of the record."""

    id: str
    type: str
    """What happened, such as ``token.released``."""
    at: str | None
    tenant: str
    connection_id: str | None
    client_id: str | None
    """The client that asked; ``null`` where the broker acted by itself."""
    request_id: str | None
    data: Mapping[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        """The view of ``event``."""
        return cls.model_validate(event.shown())


class EventList(Described):
    """A page of events, newest first."""

    items: list[EventView]
    next_cursor: str | None
    """``cursor`` of the next page; ``null``: there is nothing older."""
