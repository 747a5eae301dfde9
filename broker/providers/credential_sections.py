"""The sections of an entry that say what a credential consists of, and how it is put on a request."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from broker.providers.fields import Address, Text, header_name, header_value
from broker.providers.sections import Entry, compiled


class CredentialField(Entry):
    """Something that a credential consists of, and that a person or a program hands in."""

    label: Text
    """What the person is asked for."""
    secret: bool = True
    """Whether it is shown to nobody, not even while it is typed."""
    pattern: str | None = None
    """A regular expression that the whole value must match."""
    help: Text | None = None
    """Where to find it or what it looks like, in the provider's own words."""
    optional: bool = False
    multiline: bool = False
    """Whether the value may have several lines, as private keys do."""

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        compiled("pattern", self.pattern or "")
        return self


class CredentialHelp(Entry):
    """Where a person finds the credential that the connect page asks for, in the provider's own words."""

    text: Text
    url: Address | None = None
    """The page of the provider where it is made."""


class ApiKey(Entry):
    """How an API key travels. Without this section: as a bearer token (RFC 6750 §2.1)."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    place: Literal["header", "query"] = Field(default="header", alias="in")
    name: Text = "Authorization"
    """Of the header or the query parameter."""
    prefix: str = ""
    """Stands before the key. In the header ``Authorization`` a word alone is a scheme, so a space follows it."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.place == "header":
            header_name(self.name)
            header_value(self.prefix)
        return self


class Aws(Entry):
    """What a signature is made for (AWS Signature Version 4)."""

    region: Text
    """May hold ``{parameter}`` placeholders."""
    service: Text
    """The service's signing name; may hold ``{parameter}`` placeholders."""


class Computed(Entry):
    """A part of a custom scheme that is computed for each request, by a function that has a name."""

    function: Literal["timestamp", "nonce", "hmac", "hash", "base64"]
    """``timestamp``: the moment of the request. ``nonce``: 128 random bits. ``hmac`` (RFC 2104) and ``hash``: over
    ``over``. ``base64``: of ``over``."""
    over: str = ""
    """A template over fields, parameters, other computed parts, and the request: ``{method}``, ``{url}``, ``{host}``,
    ``{path}``, ``{query}``, ``{body}``, ``{body_sha256}``."""
    key: str = ""
    """With ``hmac``: a template over fields."""
    key_encoding: Literal["text", "base64", "hex"] = "text"
    digest: Literal["sha256", "sha512", "sha1", "md5"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    format: Literal["seconds", "milliseconds", "rfc3339", "http_date"] = "seconds"
    """With ``timestamp``."""
