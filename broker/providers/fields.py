"""The field types of ``providers.yaml``: what a value may look like, whatever it is for.

Their errors say what is wrong and never quote the value: after substitution it may be a secret.
"""

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")

_AUTHORIZATION_PARAMETERS = re.compile(
    r"client_id|redirect_uri|response_type|state|nonce|code_challenge\w*|request|request_uri"
)
_TOKEN_PARAMETERS = re.compile(
    r"client_id|client_secret|client_assertion\w*|code|code_verifier|grant_type|redirect_uri|refresh_token"
)


def placeholders(template: str) -> frozenset[str]:
    """The names that stand in braces in ``template``: ``https://{subdomain}.example`` → ``{"subdomain"}``."""
    return frozenset(_PLACEHOLDER.findall(template))


def _pointer(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError("a JSON pointer starts with '/' (RFC 6901)")
    return value


def _address(value: str) -> str:
    # A placeholder may be all of a port, which the URL parser wants to be a number: digits fit everywhere.
    sample = _PLACEHOLDER.sub("1", value)
    try:
        parts = urlsplit(sample)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be a valid URL") from None
    if not _VISIBLE.fullmatch(value) or "\\" in value or "@" in parts.netloc or "#" in value:
        raise ValueError("must be a URL without spaces, user name or fragment")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ValueError("must be an https:// URL (plain http only on loopback)")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def header_name(value: str) -> str:
    """``value``, if it can name a header field.

    :raises ValueError: it can't.
    """
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("is not a header name (RFC 9110 §5.1)")
    return value


def header_value(value: str) -> str:
    """``value``, if it can stand in a header field.

    :raises ValueError: it can't.
    """
    if not value.isprintable():
        raise ValueError("a header value has no line breaks or control characters (RFC 9110 §5.5)")
    return value


def _authorization_parameter(name: str) -> str:
    if _AUTHORIZATION_PARAMETERS.fullmatch(name):
        raise ValueError("belongs to the protocol and can't be overridden here")
    return name


def _token_parameter(name: str) -> str:
    if _TOKEN_PARAMETERS.fullmatch(name):
        raise ValueError("belongs to the protocol and can't be overridden here")
    return name


Text = Annotated[str, StringConstraints(min_length=1)]

Pointer = Annotated[str, AfterValidator(_pointer)]
"""A JSON pointer (RFC 6901) into an answer of the provider."""

Address = Annotated[str, AfterValidator(_address)]
"""An https address; plain http only on loopback. May hold ``{parameter}`` placeholders."""

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""What a part of a credential is called; usable as ``{name}`` in templates."""

HeaderName = Annotated[str, AfterValidator(header_name)]

Headers = dict[HeaderName, Annotated[str, AfterValidator(header_value)]]
"""Header fields to add to a request: name → value."""

AuthorizationParameters = dict[Annotated[str, AfterValidator(_authorization_parameter)], str]
"""Extra query parameters; what keeps the flow safe (state, PKCE, redirect URI …) is not among them."""

TokenParameters = dict[Annotated[str, AfterValidator(_token_parameter)], str]
"""Extra body parameters; never credentials or what the grant itself sends."""
