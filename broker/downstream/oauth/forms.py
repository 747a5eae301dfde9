"""What requests of the OAuth face may say. Parameters that are not among these are ignored (RFC 6749 §3.2).

The parameters are read one by one, by those who need them; here they are declared: a call hands out no other.
"""

from typing import Annotated, Literal

from pydantic import StringConstraints

from broker.http.described import Absent, Described

Given = Annotated[str, StringConstraints(min_length=1)]
"""A parameter that has to be there: an empty one is absent (RFC 6749 §3.2)."""


class ClientForm(Described):
    """How the client says who it is, unless it does in the Authorization header (RFC 6749 §2.3)."""

    client_id: str | Absent = None
    """With ``client_secret_post``, and beside a platform's token; a client's own assertion names it already. Of a
    public client it is all there is."""
    client_secret: str | Absent = None
    """With ``client_secret_post``."""
    client_assertion: str | Absent = None
    """With ``private_key_jwt``: a JWT that the client signed (RFC 7523 §3). Its ``iss`` and ``sub`` are the client_id,
    its ``aud`` is this issuer alone, it ends within five minutes, and its ``jti`` works once. Or the token that a
    platform gave to the client: issuer, audience and subject are those registered."""
    client_assertion_type: Literal["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"] | Absent = None


class ClientCredentialsForm(ClientForm):
    """A broker token for the client itself (RFC 6749 §4.4)."""

    grant_type: Literal["client_credentials"]
    scope: str | Absent = None
    """Client scopes, separated by spaces; absent: all that the client has."""


class RefreshTokenForm(ClientForm):
    """New tokens for a machine that is logged in (RFC 6749 §6)."""

    grant_type: Literal["refresh_token"]
    refresh_token: Given
    """The latest one; its predecessor is answered as well until it was used, for at most a minute."""
    scope: str | Absent = None
    """Client scopes, separated by spaces, of those that were granted at the login; absent: all of them."""


class DeviceCodeForm(ClientForm):
    """Whether a machine's person has agreed (RFC 8628 §3.4)."""

    grant_type: Literal["urn:ietf:params:oauth:grant-type:device_code"]
    device_code: Given


class DeviceAuthorizationForm(ClientForm):
    """A machine asks to log in (RFC 8628 §3.1)."""

    provider: Given
    """The provider to connect an account at."""
    provider_scope: Annotated[str, StringConstraints(max_length=4000)] | Absent = None
    """Provider scopes, separated by spaces, 50 at most; absent: the provider's default scopes. A public client can ask
    for those that the provider's entry lists."""
    scope: str | Absent = None
    """Client scopes of the machine's broker tokens, separated by spaces; absent: all that the client has and that mean
    something for one connection."""
    subject: Annotated[str, StringConstraints(max_length=255)] | Absent = None
    """Whose the connection will be; only for clients that authenticate. Absent: derived from the provider's account."""
    device_name: Annotated[str, StringConstraints(max_length=64)] | Absent = None
    """How the machine calls itself; shown to the person, as what it is."""
    parameters: Annotated[str, StringConstraints(max_length=1024)] | Absent = None
    """What the provider asks of a connection, such as a subdomain: a JSON object of texts."""


class TokenExchangeForm(ClientForm):
    """An access token of the provider for a reference, or for a machine's own broker token (RFC 8693)."""

    grant_type: Literal["urn:ietf:params:oauth:grant-type:token-exchange"]
    subject_token: Given
    """The reference; or a broker token that is bound to one connection."""
    subject_token_type: Literal["urn:broker:token-type:reference", "urn:ietf:params:oauth:token-type:access_token"]
    requested_token_type: Literal["urn:ietf:params:oauth:token-type:access_token"] | Absent = None
    actor_token: str | Absent = None
    """Refused: nobody acts for somebody else here."""
    resource: str | Absent = None
    """Refused, as ``audience`` is: the reference itself says whose token it stands for."""
    audience: str | Absent = None
    min_ttl: Annotated[str, StringConstraints(pattern="^[0-9]{1,6}$")] | Absent = None
    """Seconds the token must still live; one just refreshed is answered even if it lives shorter."""


class TokenForm(ClientForm):
    """A broker token or a reference, to be looked at or taken back (RFC 7662 §2.1, RFC 7009 §2.1)."""

    token: Given
    token_type_hint: str | Absent = None
    """Not needed: the token's prefix says what it is."""
