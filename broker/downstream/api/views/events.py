"""The audit record as it is shown."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel

from broker.clock import rfc3339
from broker.models.event import Event


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
