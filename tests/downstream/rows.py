"""Every route of the app, as the access matrix sees it: who may call it, with which scope, and about what.

``ROWS`` are the routes that take a broker token; ``OPEN``, ``BROWSER`` and ``CLIENT`` are all others. A route that
stands nowhere here fails ``test_matrix``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

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
    states: tuple[int, ...] = ()
    """What is answered about a connection, by :data:`STATES`."""


STATES: Final = ("active", "reauth_required", "disabled", "revoked", "gone")
"""What a connection can have become since its id was learnt. ``gone``: there is no record of it any more."""

_USES: Final = (200, 409, 409, 409, 404)
_LOOKS: Final = (200, 200, 200, 200, 404)


_PROXIED: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
AUTHORIZED: dict[str, Any] = {"method": "GET"}
"""A request to the practice provider's API; its ``url`` is known once that runs."""


_OPEN = {"provider": "practice", "subject": "ann"}

ROWS: Mapping[str, Row] = {
    "POST /v1/connections/{connection_id}/token": Row("tokens:read", "connection", {"min_ttl": 0}, states=_USES),
    "POST /v1/connections/{connection_id}/references": Row(
        "references:issue", "connection", {"audience": "cl_x"}, states=(201, 409, 409, 409, 404)
    ),
    "POST /v1/connections/{connection_id}/refresh": Row("connections:write", "connection", states=_USES),
    "POST /v1/connections/{connection_id}/test": Row("connections:write", "connection", states=_USES),
    "GET /v1/connections/{connection_id}": Row("connections:read", "connection", states=_LOOKS),
    "PATCH /v1/connections/{connection_id}": Row(
        "connections:write", "connection", {"label": "x"}, states=(200, 200, 200, 409, 404)
    ),
    "DELETE /v1/connections/{connection_id}": Row("connections:write", "connection", states=_LOOKS),
    "GET /v1/connections/{connection_id}/events": Row("events:read", "connection", states=_LOOKS),
    "GET /v1/connections/{connection_id}/device-sessions": Row("connections:read", "connection", states=_LOOKS),
    "DELETE /v1/connections/{connection_id}/device-sessions/{device_session_id}": Row(
        "connections:write", "connection", states=(404,) * 5
    ),
    "GET /v1/connections": Row("connections:read", not_given=200),
    "POST /v1/connections": Row("connections:write", body={**_OPEN, "credentials": {}}, not_given=403),
    "POST /v1/connect-sessions": Row("connect", body=_OPEN, not_given=403),
    "GET /v1/connect-sessions/{session_id}": Row("connect", "session"),
    "POST /v1/connect-sessions/{session_id}/complete": Row(
        "connect", "session", {"completion_code": "x", "subject": "ann"}
    ),
    "GET /v1/events": Row("events:read", not_given=200),
    "POST /v1/connections/{connection_id}/authorization": Row("tokens:read", "connection", AUTHORIZED, states=_USES),
    **{
        f"{method} /proxy/{{connection_id}}/{{path:path}}": Row("proxy", "connection", states=_USES)
        for method in _PROXIED
    },
    "GET /v1/providers": Row(None, not_given=200),
    "GET /v1/providers/{name}": Row(None, "provider"),
    "GET /v1/clients": Row("admin", not_given=200),
    "POST /v1/clients": Row("admin", body={"name": "new", "scope": "connect"}, not_given=400),
    "DELETE /v1/clients/{client_id}": Row("admin", "client", not_given=200),
}
CLIENT = frozenset(
    {"POST /oauth/token", "POST /oauth/introspect", "POST /oauth/revoke", "POST /oauth/device_authorization"}
)
"""Routes at which a client proves itself anew each time; a broker token is no proof there."""

BROWSER = {
    "GET /connect/{handle}": 403,
    "POST /connect/{handle}": 403,
    "GET /callback/{provider}": 403,
    "GET /connect/{session_id}/code": 403,
    "GET /device": 200,
    "POST /device": 200,
    "GET /device/logins/{handle}": 404,
    "POST /device/logins/{handle}": 404,
}
"""Routes for a person, who is known by a link or a code, and by the cookie of the browser that followed it. No client
is. With what they answer somebody else: an error, or the form for a code."""

OPEN = {
    "GET /.well-known/oauth-authorization-server": 200,
    "GET /openapi.json": 200,
    "GET /livez": 200,
    "GET /readyz": 200,
    "GET /metrics": 200,
    "GET /static/{path:path}": 404,
}
"""Routes for anybody, who is not asked who they are, with what they answer."""

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
        path = f"{start}{name}{rest.partition('}')[2]}" if brace else path
        # Of the provider's API, what answers every method.
        return method, path.replace("{path:path}", "streams/echo")
