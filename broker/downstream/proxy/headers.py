"""Which headers pass the proxy: everything but what belongs to one of its two sides (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Sequence
from typing import Final

Raw = tuple[bytes, bytes]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""They speak of one connection, not of what travels on it."""

_NOT_ASKED: Final = _HOP_BY_HOP | {
    # The broker's own.
    b"host",
    b"authorization",
    b"content-length",
    b"expect",
    # A browser's, or another hop's: the provider must not take them for ours.
    b"cookie",
    b"cookie2",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    # A request is what its request line says: ``allow`` is judged by that.
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-url",
    b"x-rewrite-url",
}

_NOT_TOLD: Final = _HOP_BY_HOP | {
    # They would hold for the broker's origin, whoever's answer they stand on.
    b"set-cookie",
    b"set-cookie2",
    b"clear-site-data",
    b"strict-transport-security",
    b"public-key-pins",
    b"alt-svc",
    b"service-worker-allowed",
    b"content-security-policy",
    b"content-security-policy-report-only",
    b"report-to",
    b"reporting-endpoints",
    b"nel",
    b"refresh",
    b"origin-agent-cluster",
    b"x-content-type-options",
    b"x-frame-options",
    # Of the broker's credential, which is none of the caller's business.
    b"www-authenticate",
    b"authentication-info",
    # The broker's own.
    b"x-request-id",
    b"broker-connection",
    b"date",
    b"server",
}

_OURS: Final = (
    (b"content-security-policy", b"sandbox"),
    (b"x-content-type-options", b"nosniff"),
)


def asked(headers: Iterable[Raw]) -> list[tuple[str, str]]:
    """What of a caller's headers is passed on to the provider."""
    given = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_ASKED | _named_by_connection(given)
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in given
        if name not in dropped and not name.startswith((b"proxy-", b"x-forwarded-"))
    ]


def told(headers: Sequence[Raw], connection_id: str) -> list[Raw]:
    """What of a provider's headers is passed back to the caller, and what is added.

    :param connection_id: whose credential the provider has seen.
    """
    given = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_TOLD | _named_by_connection(given)
    passed = [(name, value) for name, value in given if name not in dropped and not name.startswith(b"access-control-")]
    return [*passed, *_OURS, (b"broker-connection", connection_id.encode())]


def _named_by_connection(headers: Iterable[Raw]) -> frozenset[bytes]:
    lists = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in lists for token in value.split(b","))
