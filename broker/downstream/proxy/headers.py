"""Which headers pass the proxy: everything but what belongs to one of its two sides (RFC 9110 §7.6.1)."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final
from urllib.parse import urljoin, urlsplit

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
    b"x-cluster-client-ip",
    b"x-original-forwarded-for",
    b"fastly-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    # A request is what its request line says: ``allow`` is judged by that.
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-rewrite-url",
    b"x-host",
    b"x-forwarded",
}
_OF_OTHER_HOPS: Final = (b"proxy-", b"x-forwarded-", b"x-original-", b"x-envoy-")

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
    # They tell what stands in front of the broker what to do.
    b"x-sendfile",
    b"x-lighttpd-send-file",
    # Of the broker's credential, which is none of the caller's business.
    b"www-authenticate",
    b"authentication-info",
    # The broker's own.
    b"x-request-id",
    b"broker-connection",
    b"date",
    b"server",
}

_TO_WHAT_STANDS_IN_FRONT: Final = (b"x-accel-", b"x-reproxy-", b"surrogate-", b"access-control-")
_CACHES_FOR_ALL: Final = re.compile(rb"\b(public|s-maxage\s*=\s*[^,]*)\s*(,|$)", re.IGNORECASE)
"""Directives by which a shared cache may answer others, although the request was authenticated (RFC 9111 §3.5)."""
_PLAIN_HOST: Final = re.compile(
    r"([a-z0-9_-]+\.)*[a-z][a-z0-9-]*\.?|(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}|[0-9a-f]*:[0-9a-f:.]+", re.IGNORECASE
)
"""A name, IPv4 in four decimal parts, or IPv6."""
_WITHOUT_BODY: Final = frozenset({204, 205, 304})
_PORTS: Final = {"http": 80, "https": 443}

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
        if _hyphened(name) not in dropped and not _hyphened(name).startswith(_OF_OTHER_HOPS)
    ]


def told(headers: Sequence[Raw], status: int, *, connection_id: str, url: str, own_hosts: Collection[str]) -> list[Raw]:
    """What of a provider's headers is passed back to the caller, and what is added.

    :param connection_id: whose credential the provider has seen.
    :param url: what was asked of the provider; addresses in the answer are relative to that.
    :param own_hosts: the broker's, as callers know it.
    """
    given = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_TOLD | _named_by_connection(given)
    if status in _WITHOUT_BODY or b"transfer-encoding" in {name for name, _ in given}:
        # It says how long something else is (RFC 9110 §8.6, RFC 9112 §6.2).
        dropped |= {b"content-length"}
    passed = [
        (name, _absolute(value, url) if name == b"location" else value)
        for name, value in given
        if name not in dropped
        and not name.startswith(_TO_WHAT_STANDS_IN_FRONT)
        and not name.endswith(b"cdn-cache-control")
    ]
    passed = [(name, _private(value) if name == b"cache-control" else value) for name, value in passed]
    # A caller that follows redirects takes its broker token along to the host it came from: the provider must not be
    # the one who chooses what is asked there.
    safe = [(name, value) for name, value in passed if name != b"location" or not _leads_to(value, own_hosts)]
    return [*safe, *_OURS, (b"broker-connection", connection_id.encode())]


def _hyphened(name: bytes) -> bytes:
    """As programs behind a gateway interface read it, to whom an underscore is a hyphen (RFC 3875 §4.1.18)."""
    return name.replace(b"_", b"-")


def _absolute(location: bytes, url: str) -> bytes:
    try:
        return urljoin(url, location.decode("ascii")).encode()
    except ValueError:
        return location


def _private(cache_control: bytes) -> bytes:
    """``cache_control`` for the caller alone: what one client may see, no shared cache answers another with."""
    return b"private, " + _CACHES_FOR_ALL.sub(b"", cache_control).strip(b", ")


def _leads_to(location: bytes, hosts: Collection[str]) -> bool:
    try:
        # As browsers read it, to whom a backslash is a slash.
        parts = urlsplit(location.decode("latin-1").strip().replace("\\", "/"))
        wanted = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return True
    known = [urlsplit(f"//{host}") for host in hosts]
    # What isn't spelt plainly (%6cocalhost, 127.1) may be read as the broker's by a caller who knows better.
    return not _PLAIN_HOST.fullmatch(parts.hostname or "") or any(
        wanted == (own.hostname, own.port) or (own.port is None and wanted[0] == own.hostname) for own in known
    )


def _named_by_connection(headers: Iterable[Raw]) -> frozenset[bytes]:
    lists = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in lists for token in value.split(b","))
