"""The two answers made for secrets: an access token, and a reference."""

from collections.abc import Mapping

from pydantic import Field

from broker.downstream.api.views.absence import is_absent
from broker.http.described import Absent, Described


class TokenView(Described):
    """An access token of the provider."""

    access_token: str
    token_type: str
    """``Bearer``; ``N_A`` (RFC 8693 §2.2.1) where the provider wants it otherwise: in a header of its own, say."""
    expires_in: int | Absent = Field(default=None, exclude_if=is_absent)
    """Seconds; absent where the token has no end."""
    scope: str
    """The provider's scopes, separated by spaces."""
    connection_id: str
    fallback_for: str | Absent = Field(default=None, exclude_if=is_absent)
    """The connection that was asked for, where it has to be authorized again and another one of the same account serves
    in its place; then ``connection_id`` and ``generation`` are the other's."""
    generation: int
    """Of the credential: send it as ``stale_generation`` when the provider refuses this token."""


class AuthorizationView(Described):
    """What to put on the request, in the place of what stands there under the same names."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    """Parameters of the query, not yet percent-encoded."""
    connection_id: str
    """Whose credential it is."""
    generation: int
    """Of the credential; to be named as ``stale_generation`` where the provider refuses it."""
    fallback_for: str | Absent = Field(default=None, exclude_if=is_absent)
    """The connection that was asked for, where another one of the same account serves in its place."""
    expires_in: int | Absent = Field(default=None, exclude_if=is_absent)
    """Seconds that the credential has left; absent: no end is known."""


class ReferenceView(Described):
    """A reference that was just issued."""

    reference: str
    """A secret: for the audience alone."""
    expires_in: int
    """Seconds."""
