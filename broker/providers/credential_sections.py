"""The sections of an entry that say what a credential consists of, and how it is put on a request."""

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from broker.providers.fields import Address, Text, header_name, header_value
from broker.providers.sections import Entry, compiled

FieldFormat = Literal["text", "token", "digits", "private_key", "base64", "hex"]


class CredentialField(Entry):
    """Something that a credential consists of, and that a person or a program hands in."""

    label: Text
    """What the person is asked for."""
    secret: bool = True
    """Whether it is shown to nobody, not even while it is typed."""
    pattern: str | None = None
    """A regular expression that the whole value must match."""
    format: FieldFormat = "text"
    """``token``: what can stand in a header, visible ASCII. ``digits``: nothing else. ``private_key``: an RSA key in
    PEM, without a password. ``base64`` and ``hex``: bytes that are written so."""
    help: Text | None = None
    """Where to find it or what it looks like, in the provider's own words."""
    optional: bool = False
    asked: bool = True
    """``false``: what the type has and this provider doesn't, so nobody is asked for it. It has to be optional."""
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
        if self.place == "query" and "name" not in self.model_fields_set:
            raise ValueError("name missing: of the query parameter")
        if self.place == "header":
            header_name(self.name)
            header_value(self.prefix)
        return self


class Computed(Entry):
    """A part of a custom scheme that is computed for each request, by a function that has a name."""

    function: Literal["timestamp", "nonce", "hmac", "hash", "base64"]
    """``timestamp``: the moment of the request. ``nonce``: 128 random bits. ``hmac`` (RFC 2104) and ``hash``: of
    ``over``. ``base64``: ``over`` itself, so encoded."""
    over: str = ""
    """A template over fields, parameters, computed parts that stand before it, and the request: ``{method}``,
    ``{url}``, ``{host}``, ``{path}``, ``{query}``, ``{target}`` (path and query), ``{body}``, ``{body_sha256}``."""
    key: str = ""
    """With ``hmac``: a template over fields, parameters and computed parts that stand before it."""
    key_encoding: Literal["text", "base64", "hex"] = "text"
    """How the bytes of the key are written in ``key``."""
    digest: Literal["sha256", "sha512", "sha1", "md5"] = "sha256"
    """With ``hmac`` and ``hash``."""
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    """How bytes are written; with ``base64`` the function: ``base64``, unless it is ``base64url``."""
    format: Literal["seconds", "milliseconds", "rfc3339", "http_date"] = "seconds"
    """With ``timestamp``."""

    @model_validator(mode="after")
    def _has_what_its_function_takes(self) -> Self:
        for name in self.model_fields_set - {"function"}:
            if name not in _TAKES[self.function]:
                raise ValueError(f"{name} means nothing with {self.function}")
        lacking = [name for name in ("over", "key") if name in _TAKES[self.function] and not getattr(self, name)]
        if lacking:
            raise ValueError(f"{' and '.join(lacking)} missing: what {self.function} is computed of")
        return self


_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "timestamp": frozenset({"format"}),
    "nonce": frozenset({"encoding"}),
    "hmac": frozenset({"over", "key", "key_encoding", "digest", "encoding"}),
    "hash": frozenset({"over", "digest", "encoding"}),
    "base64": frozenset({"over", "encoding"}),
}
