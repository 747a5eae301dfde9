"""What answers of the OAuth face say. No member stands for nothing: what does not apply is left out."""

from broker.http.described import Absent, Described


class Refused(Described):
    """Why the answer is no (RFC 6749 §5.2)."""

    error: str
    """What went wrong, in the protocol's words."""
    error_description: str
    """What went wrong, for people. Never holds a secret or a value of the request."""
    request_id: str
    """The id under which the broker's log knows the request."""
    code: str | Absent = None
    """What went wrong in the words of the JSON face, where that says more."""


class BrokerTokenAnswer(Described):
    """A broker token (RFC 6749 §5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    scope: str
    """Client scopes, separated by spaces."""


class DeviceTokenAnswer(BrokerTokenAnswer):
    """What a machine that is logged in gets: a broker token bound to its connection, and how to get the next one."""

    refresh_token: str
    """Works once; each answer brings its successor."""
    connection_id: str


class DeviceAuthorizationAnswer(Described):
    """What a machine shows to its person, and the code that it asks with (RFC 8628 §3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    """Where the person enters the user code."""
    verification_uri_complete: str | Absent = None
    """The same with the code in it, for a link or a QR code."""
    expires_in: int
    """Seconds."""
    interval: int
    """Seconds to leave between two polls."""


class ExchangedAnswer(Described):
    """An access token of the provider (RFC 8693 §2.2.1)."""

    access_token: str
    issued_token_type: str
    token_type: str
    scope: str
    """The provider's scopes, separated by spaces."""
    connection_id: str
    expires_in: int | Absent = None
    """Seconds; absent where the token has no end."""


class Introspected(Described):
    """What a token stands for (RFC 7662 §2.2). Of one that is unknown, over or another's: only that it isn't active."""

    active: bool
    iss: str | Absent = None
    token_type: str | Absent = None
    client_id: str | Absent = None
    sub: str | Absent = None
    aud: str | Absent = None
    scope: str | Absent = None
    iat: int | Absent = None
    exp: int | Absent = None
    connection_id: str | Absent = None
    """The connection that a reference leads to, or that a machine's token is bound to."""
    remaining_uses: int | Absent = None
    """How often a reference can still be redeemed."""
