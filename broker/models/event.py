"""An audit event: who did what to which connection, when. Never holds a secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final

from pydantic_core import from_json

from broker.clock import rfc3339
from broker.models.connection import Connection
from broker.models.ids import new_id

_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass(slots=True)  # not frozen: each request makes one, and freezing would be most of that
class Event:
    """One line of the record. ``type`` is ``noun.verb`` in the past tense (``token.released``)."""

    type: str
    tenant: str
    at: int
    """Milliseconds since the epoch."""
    connection_id: str | None = None
    client_id: str | None = None
    """The client that asked; ``None`` where the broker acted by itself."""
    request_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("evt"))

    @classmethod
    def about(
        cls,
        event_type: str,
        connection: Connection,
        *,
        at: int,
        client_id: str | None = None,
        request_id: str | None = None,
        **data: object,
    ) -> "Event":
        """An event of a connection; its provider is always in the data."""
        return cls(
            type=event_type,
            tenant=connection.tenant,
            at=at,
            connection_id=connection.id,
            client_id=client_id,
            request_id=request_id,
            data={"provider": connection.provider, **data},
        )

    def shown(self) -> dict[str, Any]:
        """The event as the API and the sink say it: every field, and the time in RFC 3339."""
        return {
            "id": self.id,
            "type": self.type,
            "at": rfc3339(self.at),
            "tenant": self.tenant,
            "connection_id": self.connection_id,
            "client_id": self.client_id,
            "request_id": self.request_id,
            "data": dict(self.data),
        }

    def encode(self) -> str:
        """The stored form: compact JSON, empty fields left out."""
        data = f',"data":{_COMPACT.encode(self.data)}' if self.data else ""
        return f"{self.opened()}{data}}}"

    def opened(self) -> str:
        """The stored form without its data and its closing brace: for a script that knows what else belongs there."""
        # Put together by hand: this is half the time of making a dictionary for the encoder, and every fetch does it.
        body = f'{{"id":{_quoted(self.id)},"type":{_quoted(self.type)},"tenant":{_quoted(self.tenant)},"at":{self.at}'
        if self.connection_id is not None:
            body += f',"connection_id":{_quoted(self.connection_id)}'
        if self.client_id is not None:
            body += f',"client_id":{_quoted(self.client_id)}'
        if self.request_id is not None:
            body += f',"request_id":{_quoted(self.request_id)}'
        return body

    @classmethod
    def decode(cls, text: str | bytes) -> "Event":
        """The event that :meth:`encode` wrote."""
        try:
            body = from_json(text)
        except ValueError:
            # Half a pair of surrogates, which a provider's words may hold: the quicker parser refuses it.
            body = json.loads(text)
        return cls(
            type=body["type"],
            tenant=body["tenant"],
            at=body["at"],
            connection_id=body.get("connection_id"),
            client_id=body.get("client_id"),
            request_id=body.get("request_id"),
            data=body.get("data", {}),
            id=body["id"],
        )
