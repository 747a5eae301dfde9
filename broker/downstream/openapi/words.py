"""What stands in no model: what the parameters of paths are, what client scopes allow, and what the groups hold."""

from typing import Any, Final

from broker.models.ids import shape_of


def _id(prefix: str, description: str) -> tuple[str, dict[str, Any]]:
    return description, {"type": "string", "pattern": shape_of(prefix)}


PATH_PARAMETERS: Final = {
    "connection_id": _id("con", "The connection's id."),
    "session_id": _id("cs", "The connect session's id."),
    "client_id": _id("cl", "The client's id."),
    "device_session_id": ("The device session's id.", {"type": "string", "pattern": "^ds_[0-9a-f]{32}$"}),
    "name": ("The provider's name, as in the providers file.", {"type": "string", "minLength": 1}),
    "provider": ("The provider's name, as in the providers file.", {"type": "string", "minLength": 1}),
    "path": ("The path below the provider's `api.base_url`.", {"type": "string"}),
    "handle": ("The secret part of a connect link.", {"type": "string", "minLength": 1}),
}
"""Name in the path's template → what it is, and its schema."""

SCOPES: Final = {
    "connect": "Open and complete connect sessions.",
    "connections:read": "See connections.",
    "connections:write": "Make, refresh, test and end connections.",
    "tokens:read": "Fetch access tokens.",
    "references:issue": "Issue references.",
    "references:redeem": "Exchange references for access tokens.",
    "proxy": "Call providers through the broker.",
    "events:read": "Read the audit record.",
    "admin": "Register and remove clients of the tenant.",
}
"""Client scope → what a broker token with it may do."""

TAGS: Final = {
    "Connect sessions": "An attempt of a person to connect an account, from the link to the connection.",
    "Connections": "One subject's account at one provider.",
    "Tokens": "Access tokens, fresh enough for what is to be done.",
    "Proxy": "Providers' APIs, with a connection's credential put in.",
    "Devices": "Machines that are logged in with a connection.",
    "References": "Capabilities for another service (or oneself), exchanged for access tokens.",
    "Providers": "What can be connected.",
    "Events": "The audit record.",
    "Clients": "The programs that use the broker.",
    "OAuth": "The broker as an authorization server for its clients.",
    "Pages": "What people see in their browsers.",
    "Operations": "What operators and their machines ask.",
}
"""Group → what it holds, in the order they are shown in."""

ABOUT: Final = """\
An OAuth 2.0 broker: programs fetch access tokens to the accounts that people connected.

What is true of every operation:

* Every answer has `X-Request-Id`; refusals repeat it, and the broker's log knows the request by it.
* A refusal of the JSON face is a problem document (RFC 9457), of the OAuth face an RFC 6749 §5.2 error. Programs go by
  `code`, or `error`.
* A method that an address does not take is refused with 405 and `Allow`. `GET` stands for `HEAD`, too, except at the
  callback.
* What is no HTTP, or comes too slowly or too often at once, is refused in plain text before it is read as a request.
* A body has 64 KiB at most. An optional field that is `null` is absent, and so is a parameter without a value.
* More members may be added to answers; a program ignores those that it does not know.
"""

SECURITY: Final = """\
A broker token, from the client credentials grant, or of a machine that logged in; that one is bound to one connection.
The scopes are client scopes; an operation names the one it takes.\
"""
