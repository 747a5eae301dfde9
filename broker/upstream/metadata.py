"""Authorization server metadata (RFC 8414, OpenID Connect Discovery): read and judged, without I/O."""

from dataclasses import dataclass
from functools import lru_cache

from broker.errors import AddressRefused, ProviderError
from broker.upstream.address_guard import parse_address
from broker.upstream.answers import safe_text

_SHOWN_AT_MOST = 200
_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of an issuer's metadata that a client uses. Field names are RFC 8414's."""

    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None
    authorization_response_iss_parameter_supported: bool = False


def well_known_addresses(issuer: str) -> list[str]:
    """Where the metadata of ``issuer`` may stand, in the order to ask: RFC 8414 §3.1, then OpenID's document,
    put before the issuer's path and after it.

    :raises AddressRefused: the issuer is not an address that may be called.
    :raises ProviderError: the issuer has a query (RFC 8414 §2).
    """
    url = parse_address(issuer)
    if url.query or "?" in issuer:
        raise ProviderError("an issuer has no query")
    base = f"{url.scheme}://{url.netloc.decode('ascii')}"
    path = url.raw_path.decode("ascii").rstrip("/")
    addresses = [
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}/.well-known/openid-configuration{path}",
    ]
    return [*addresses, f"{base}{path}/.well-known/openid-configuration"] if path else addresses


def parse_metadata(issuer: str, document: dict[str, object], *, found_at: str) -> Metadata:
    """Read ``document``, which was obtained for ``issuer`` at the address ``found_at``.

    :raises ProviderError: it names another issuer (RFC 8414 §3.3), or an endpoint that is not https. Then nothing of it
        may be used.
    """
    if document.get("issuer") != issuer:
        named = shown(document.get("issuer")) or "none that can be shown"
        raise ProviderError(
            f"the metadata at {shown(found_at)} names another issuer than the one that was asked: {named}, "
            f"and not {shown(issuer)}"
        )
    endpoints = {name: _endpoint(name, document.get(name), issuer, found_at) for name in _ENDPOINTS}
    return Metadata(
        issuer=issuer,
        **endpoints,
        code_challenge_methods_supported=_names(document.get("code_challenge_methods_supported")),
        token_endpoint_auth_methods_supported=_names(document.get("token_endpoint_auth_methods_supported")),
        authorization_response_iss_parameter_supported=(
            document.get("authorization_response_iss_parameter_supported") is True
        ),
    )


def shown(address: object) -> str:
    """An address, or what a document has in its place, as an error may show it."""
    return safe_text(address, limit=_SHOWN_AT_MOST)


@lru_cache
def same_origin(one: str, other: str) -> bool:
    """Whether two callable addresses share scheme, host and port.

    Remembered: each call to a provider asks it of the same few addresses, and taking them apart costs more than all
    else that is needed to know where it goes.
    """
    a, b = parse_address(one), parse_address(other)
    return (a.scheme, a.raw_host, a.port) == (b.scheme, b.raw_host, b.port)


def _endpoint(name: str, value: object, issuer: str, found_at: str) -> str | None:
    if value is None:
        return None
    try:
        scheme = parse_address(value).scheme if isinstance(value, str) else ""
    except AddressRefused:
        scheme = ""
    # Plain http only stays on the machine where it began: an https issuer can't send us there.
    if not isinstance(value, str) or scheme not in {"https", parse_address(issuer).scheme}:
        raise ProviderError(f"in the metadata at {shown(found_at)} {name} is not an https address")
    return value


def _names(value: object) -> tuple[str, ...] | None:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else None
