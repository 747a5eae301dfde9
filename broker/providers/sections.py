"""The sections of a provider entry: what stands under ``revocation:``, ``refresh:``, ``identity:`` …"""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.providers.fields import Address, Headers, Pointer, Text

TokenKind = Literal["refresh_token", "access_token"]
GrantField = Literal["access_token", "refresh_token", "expires_in", "refresh_token_expires_in", "scope", "token_type"]
RotationPolicy = Literal["none", "grace", "strict", "revoke_on_reuse", "unknown"]


class Entry(BaseModel):
    """Base of everything in the file: frozen, and unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def compiled(field: str, pattern: str) -> None:
    """Return if ``pattern`` is a regular expression.

    :raises ValueError: it is none; names ``field``.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{field} is not a regular expression (position {error.pos})") from None


class Parameter(Entry):
    """Something a connection must say before its endpoints are known, such as a subdomain."""

    label: Text
    """What the person is asked for."""
    pattern: str = r"[A-Za-z0-9][A-Za-z0-9.-]*"
    """A regular expression that the whole value must match."""
    default: str | None = None
    """Used where the connection says nothing."""

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        compiled("pattern", self.pattern)
        return self


class Revocation(Entry):
    """How a token is given back (RFC 7009, or the provider's own way)."""

    endpoint: Address
    """May hold ``{client_id}`` besides the connection's parameters."""
    style: Literal["rfc7009", "rfc7009_json", "bearer_post", "basic_delete_json"] = "rfc7009"
    """``rfc7009``: form POST with client authentication. ``rfc7009_json``: the same with a JSON body.
    ``bearer_post``: POST that carries the token itself as bearer. ``basic_delete_json``: DELETE with Basic
    client authentication and the JSON body ``{"access_token": …}``."""
    effect: Literal["token", "grant"] = "token"
    """``grant``: revoking one token ends all tokens of that user for this app."""
    token: TokenKind | None = None
    """Which token is sent. By default ``refresh_token`` with the two styles of RFC 7009, which take either, and
    ``access_token`` with the others. Where a connection lacks a refresh token, its access token is sent."""

    @property
    def token_to_send(self) -> TokenKind:
        """``token``, or what is right for the style where the entry doesn't say."""
        if self.token is not None:
            return self.token
        # A bearer is an access token by nature, and so is what goes under that name in JSON.
        return "refresh_token" if self.style in {"rfc7009", "rfc7009_json"} else "access_token"


class TokenResponse(Entry):
    """Where the fields of a token answer stand, when not where RFC 6749 §5.1 puts them."""

    access_token: Pointer = "/access_token"  # noqa: S105 - a JSON pointer
    refresh_token: Pointer = "/refresh_token"  # noqa: S105 - a JSON pointer
    expires_in: Pointer = "/expires_in"
    refresh_token_expires_in: Pointer = "/refresh_token_expires_in"  # noqa: S105 - a JSON pointer
    """Seconds that the refresh token lives; not in the RFC, but several providers say it there."""
    scope: Pointer = "/scope"
    token_type: Pointer = "/token_type"  # noqa: S105 - a JSON pointer
    unlisted_scopes: tuple[Text, ...] = ()
    """Scopes that no answer lists, though they are granted: they count as granted where they were asked for."""
    error: Pointer = "/error"
    """Whatever stands here marks a failure, also in an answer with status 200."""
    error_description: Pointer = "/error_description"
    invalid_grant: tuple[str, ...] = ()
    """The provider's own error codes that mean what RFC 6749 §5.2 calls ``invalid_grant``: the grant is gone."""
    on_refresh: dict[GrantField, Pointer] = {}
    """Where some of these stand in the answer to a refresh, where that is elsewhere: field → pointer."""
    device_errors: dict[Text, Literal["authorization_pending", "slow_down", "access_denied", "expired_token"]] = {}
    """The provider's own error codes for the states of a device login, in the words of RFC 8628 §3.5."""
    keep: dict[str, Pointer] = {}
    """Fields to keep with the connection as ``provider_data``: name → pointer. Never a credential."""

    @property
    def refreshed(self) -> Self:
        """Where the fields stand in the answer to a refresh."""
        return self.model_copy(update={str(name): where for name, where in self.on_refresh.items()})

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if not self.device_errors.keys().isdisjoint(self.invalid_grant):
            raise ValueError("invalid_grant and device_errors have an error code in common")
        return self


class Refresh(Entry):
    """How the provider treats refresh tokens, and how eagerly they are used. Times in seconds."""

    rotation: RotationPolicy = "unknown"
    """``none``: the refresh token stays. ``grace``: a new one each time, the old one works for ``grace``
    seconds. ``strict``: the old one is dead at once. ``revoke_on_reuse``: using the old one ends the whole
    grant. ``unknown`` is treated as ``revoke_on_reuse``."""
    ahead: int = Field(default=300, ge=0)
    """How long before its end an access token in use is refreshed, or a quarter of its life where that is less; and up
    to an eighth of its life earlier, at random, so that tokens made together are not refreshed together."""
    grace: int = Field(default=0, ge=0)
    """With rotation ``grace``: how long the predecessor still works."""
    active_within: int = Field(default=86_400, ge=0)
    """A connection that was used this lately is kept fresh ahead; the others are refreshed when somebody asks, and for
    ``keepalive``. One that was never used counts from when it was made. 0: none is kept fresh."""
    keepalive: int = Field(default=2_592_000, ge=0)
    """The refresh token of a connection is used at least this often, also if nobody uses the connection, so that the
    provider doesn't expire it; up to an eighth earlier, at random. Where the provider names the refresh token's own
    end, a day before that. 0: only before that."""
    max_concurrent: int = Field(default=16, ge=1, le=128)
    """How many refreshes the provider's token endpoint sees at once at most, from all replicas together. Refreshing
    ahead takes no more than three quarters of them; codes that people bring back are redeemed without waiting."""
    default_expires_in: int | None = Field(default=None, gt=0)
    """Lifetime to assume where a refresh token came without ``expires_in``."""

    @property
    def reuse_ends_grant(self) -> bool:
        """Whether using a refresh token twice may end the whole grant."""
        return self.rotation in {"revoke_on_reuse", "unknown"}

    def may_repeat(self, *, since: float) -> bool:
        """Whether a refresh token that was first sent ``since`` seconds ago can be sent again without harm."""
        return self.rotation == "none" or (self.rotation == "grace" and 0 <= since < self.grace)


class Aws(Entry):
    """What a signature is made for (AWS Signature Version 4)."""

    region: Text
    """May hold ``{parameter}`` placeholders."""
    service: Text
    """The service's signing name; may hold ``{parameter}`` placeholders."""


class Identity(Entry):
    """The provider's whoami: proves that a token works and says whose account it is."""

    url: Address
    method: Literal["GET", "POST"] = "GET"
    id: Pointer
    """What tells accounts apart: unique, and the same at every connection of that account."""
    name: Pointer = ""
    """What a person recognises the account by; empty = the id."""
    headers: Headers = {}
    body: dict[Text, str] = {}
    """With ``POST``: sent as a JSON object, for APIs that are asked by query (GraphQL)."""
    error: Pointer = "/error"
    """Where the answer states an error."""
    invalid_token: tuple[Text, ...] = ()
    """The provider's own error codes that mean what RFC 6750 §3.1 calls ``invalid_token``, whatever the status of the
    answer: the credential is not accepted. A 401 means it without a word."""
    scopes: Pointer | None = None
    """Where the answer lists what the credential may do: text, or an array."""
    scopes_header: Text | None = None
    """The header of the answer that lists it instead."""
    aws: Aws | None = None
    """With ``aws_sigv4``: what the whoami is signed for, where that is another service than the API's."""
    check_every: int = Field(default=86_400, ge=0)
    """Seconds after which a connection is tested that nobody tested, refreshed or used meanwhile. 0: never."""

    @model_validator(mode="after")
    def _body_can_be_sent(self) -> Self:
        if self.body and self.method != "POST":
            raise ValueError("body is sent with POST only: method says GET")
        return self


class Api(Entry):
    """The provider's API, for the proxy and for request authorization."""

    base_url: Address
    """Credentials are only ever put on requests to this host, and the proxy's are below this address."""
    headers: Headers = {}
    """Sent with every request of the proxy, unless the caller sends them."""
    timeout: float = Field(default=60, gt=0, le=3600)
    """Seconds that the proxy waits for the head of an answer, and then for each next part of its body."""
    max_request_body: int = Field(default=100 * 1024 * 1024, ge=0)
    """Bytes of a body that the proxy takes from a caller at most."""
    max_response_body: int | None = Field(default=None, ge=0)
    """Bytes of an answer's body that the proxy passes back at most. Left out: no limit."""


class Device(Entry):
    """How a machine without a browser logs in."""

    mode: Literal["auto", "native", "bridge", "off"] = "auto"
    """``native``: the provider's own device grant (RFC 8628). ``bridge``: the broker's device page, then the
    browser flow. ``auto``: native where the entry has a ``device_authorization_endpoint``."""
    scope_allowlist: tuple[str, ...] | None = None
    """What the provider's own device grant accepts; requests beyond it take the bridge."""


class Git(Entry):
    """For which hosts git may ask for this provider's token, and under which user name."""

    hosts: tuple[str, ...]
    username: str = "x-access-token"
