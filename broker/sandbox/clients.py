"""The apps registered at the practice provider, and how they authenticate."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote_plus, urlsplit

from broker.sandbox.errors import OAuthError
from broker.sandbox.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Client:
    """A confidential app. Without registered redirect URIs it may use any on loopback."""

    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...] = ()

    def may_redirect_to(self, redirect_uri: str) -> bool:
        """Exact match with a registered URI (RFC 9700 §4.1.3), or any loopback http URI if none is."""
        if self.redirect_uris:
            return redirect_uri in self.redirect_uris
        return _is_loopback_http(redirect_uri)


Clients = Mapping[str, Client]
"""The registered clients by ``client_id``."""


def is_loopback(host: str | None) -> bool:
    """Whether ``host``, a name or an address without port or brackets, is this machine itself."""
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_loopback_http(uri: str) -> bool:
    if not uri.isascii() or not uri.isprintable() or any(character in uri for character in ' \\@#"<>'):
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "http" and is_loopback(parts.hostname)


def authenticate(clients: Clients, authorization: str | None, form: Parameters) -> Client:
    """The client behind a request: ``client_secret_basic`` or ``client_secret_post`` (RFC 6749 §2.3.1).

    Raises ``invalid_request`` for both methods at once (§2.3), 401 ``invalid_client`` for everything that
    doesn't prove a registered client, with one answer for an unknown id and a wrong secret.
    """
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if authorization is not None:
        if secret is not None:
            raise OAuthError("invalid_request", "two client authentication methods at once")
        named = client_id
        client_id, secret = _basic(authorization)
        if named not in (None, client_id):
            raise OAuthError("invalid_request", "client_id is not the one that authenticates")
    client = clients.get(client_id or "")
    expected = client.client_secret if client else ""
    # Constant time, and compared for unknown clients too: the answer's timing tells nothing about either.
    matches = hmac.compare_digest(expected.encode(), (secret or "").encode())
    if client is None or not secret or not matches:
        raise _invalid_client("unknown client or wrong secret")
    return client


def _basic(authorization: str) -> tuple[str, str]:
    """Id and secret of a Basic header; both are form-encoded inside it (RFC 6749 §2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _invalid_client("the Authorization header must be Basic")
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _invalid_client("the Basic header can't be decoded") from None
    if not colon:
        raise _invalid_client("the Basic header has no colon")
    return unquote_plus(client_id), unquote_plus(secret)


def _invalid_client(description: str) -> OAuthError:
    return OAuthError(
        "invalid_client",
        description,
        status=401,
        challenge='Basic realm="practice provider", charset="UTF-8"',
    )
