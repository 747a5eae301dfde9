"""The routes of the JSON face, as the access matrix sees them: a row for each, and somebody who calls it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.world import ServiceClient


@dataclass(frozen=True)
class Row:
    """What a route takes, and what it is about."""

    scope: str | None
    """The client scope; ``None`` where being authenticated is enough."""
    target: Literal["connection", "session", "client", "provider"] | None = None
    """What the path names."""
    body: Mapping[str, Any] | None = None
    not_given: int = 404
    """What a client is answered that was not given the provider."""


_OPEN = {"provider": "practice", "subject": "ann"}

ROWS: Mapping[str, Row] = {
    "POST /v1/connections/{connection_id}/token": Row("tokens:read", "connection", {"min_ttl": 0}),
    "POST /v1/connections/{connection_id}/references": Row("references:issue", "connection", {"audience": "cl_x"}),
    "POST /v1/connections/{connection_id}/refresh": Row("connections:write", "connection"),
    "POST /v1/connections/{connection_id}/test": Row("connections:write", "connection"),
    "GET /v1/connections/{connection_id}": Row("connections:read", "connection"),
    "DELETE /v1/connections/{connection_id}": Row("connections:write", "connection"),
    "GET /v1/connections/{connection_id}/events": Row("events:read", "connection"),
    "GET /v1/connections": Row("connections:read", not_given=200),
    "POST /v1/connections": Row("connections:write", body={**_OPEN, "credentials": {}}, not_given=403),
    "POST /v1/connect-sessions": Row("connect", body=_OPEN, not_given=403),
    "GET /v1/connect-sessions/{session_id}": Row("connect", "session"),
    "POST /v1/connect-sessions/{session_id}/complete": Row(
        "connect", "session", {"completion_code": "x", "subject": "ann"}
    ),
    "GET /v1/events": Row("events:read", not_given=200),
    "GET /v1/providers": Row(None, not_given=200),
    "GET /v1/providers/{name}": Row(None, "provider"),
    "GET /v1/clients": Row("admin", not_given=200),
    "POST /v1/clients": Row("admin", body={"name": "new", "scope": "connect"}, not_given=400),
    "DELETE /v1/clients/{client_id}": Row("admin", "client", not_given=200),
}
UNKNOWN = {
    "connection": "con_" + "0" * 22,
    "session": "cs_" + "0" * 22,
    "client": "cl_" + "0" * 22,
    "provider": "nowhere",
}
"""Well-formed names of what does not exist."""


@dataclass
class Scene:
    """The app's own things: one of each kind that a path can name."""

    app: ServiceClient
    targets: Mapping[str, str] = field(default_factory=dict)

    def path(self, route: str, target: str | None = None) -> tuple[str, str]:
        """Method and path of a call to ``route``, about the app's own thing or about ``target``."""
        method, _, path = route.partition(" ")
        kind = ROWS[route].target
        name = target or (self.targets[kind] if kind else "")
        start, brace, rest = path.partition("{")
        return method, f"{start}{name}{rest.partition('}')[2]}" if brace else path
