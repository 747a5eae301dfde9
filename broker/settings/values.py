"""Text → value, for the settings that are more than a word or a number.

Every function refuses with a ``ValueError`` that says what is wrong and never quotes the value: it may be a
secret. What is not text passes through, so that a ``Settings`` can also be made from values.
"""

import base64
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from broker.settings.store_address import parse_store_address

Network = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?![0-9.]+\Z){_LABEL}(\.{_LABEL})*")
_URL_PATH = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+)*/?")
_KEY = re.compile(r"(?P<kid>[A-Za-z0-9._-]{1,32}):(?P<key>[A-Za-z0-9+/_-]{43}=)")
_RETENTION = re.compile(r"(?P<amount>[0-9]{1,9})(?P<unit>[smhd])\s*,\s*(?P<events>[0-9]{1,12})")
_MAPPED_BITS = 96
"""Those in front of the IPv4 address in an IPv6 address that maps it (RFC 4291 §2.5.5.2)."""
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Retention(NamedTuple):
    """How long audit events are kept, and how many of them: whichever limit is met first."""

    milliseconds: int
    events: int


def _split_url(value: str) -> SplitResult:
    """``urlsplit`` that also looks at the port; its own errors would quote the value."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - the library checks the port only when it is asked for
    except ValueError:
        raise ValueError("is not a valid URL") from None
    return parts


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def web_address(value: str) -> str:
    """An absolute web address, normalised: lower-case host, no default port, no trailing slash.

    :raises ValueError: it is none, or has parts that it must not have; without the value.
    """
    parts = _split_url(value)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not (_HOST_NAME.fullmatch(host) or _is_address(host)):
        raise ValueError("must be an http(s) URL with a host")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("must not have a user name, a query or a fragment")
    if not value.isprintable() or not _URL_PATH.fullmatch(parts.path):
        raise ValueError("has a path with more than letters, digits and ._~-")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must be https (plain http only on loopback)")
    literal = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, 443 if parts.scheme == "https" else 80} else f":{parts.port}"
    return f"{parts.scheme}://{literal}{port}{parts.path.rstrip('/')}"


def store_address(value: SecretStr) -> SecretStr:
    """The store's address, of any kind.

    :raises ValueError: what is wrong, without the value.
    """
    parse_store_address(value.get_secret_value())
    return value


def parse_keys(value: object) -> object:
    """``kid:base64,…`` → ``((kid, key), …)``.

    :raises ValueError: a key is faulty, or its id comes twice; named by its position only.
    """
    if not isinstance(value, str):
        return value
    keys: dict[str, bytes] = {}
    for position, item in enumerate(value.split(","), start=1):
        match = _KEY.fullmatch(item.strip())
        encoded = match["key"].replace("-", "+").replace("_", "/") if match else ""
        key = base64.b64decode(encoded)
        # Decoders drop the two bits beyond 32 bytes; encoding again shows whether they were zero.
        if match is None or base64.b64encode(key).decode() != encoded:
            raise ValueError(f"key {position} is not kid:base64 of 32 bytes (kid: 1 to 32 of A-Z a-z 0-9 . _ -)")
        if match["kid"] in keys:
            raise ValueError(f"key {position} has the id of a key before it")
        keys[match["kid"]] = key
    return tuple(keys.items())


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("holds something that is not an IP network such as 10.0.0.0/8") from None


def parse_networks(value: object) -> object:
    """``10.0.0.0/8, ::1`` → IP networks; a network with host bits set is refused as a likely mistake."""
    return tuple(_unmapped(_network(item)) for item in _items(value)) if isinstance(value, str) else value


def _unmapped(network: Network) -> Network:
    """``::ffff:10.0.0.0/104`` is 10.0.0.0/8: addresses are compared in that form, too."""
    if isinstance(network, IPv4Network) or network.prefixlen < _MAPPED_BITS:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def parse_hosts(value: object) -> object:
    """Host names (lower-cased) and IP networks."""
    if not isinstance(value, str):
        return value
    return tuple(item if _HOST_NAME.fullmatch(item) else _network(item) for item in _items(value.lower()))


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_retention(value: object) -> object:
    """``90d,1000000`` → how long and how many.

    :raises ValueError: it does not say so.
    """
    if not isinstance(value, str):
        return value
    match = _RETENTION.fullmatch(value.strip())
    if match is None:
        raise ValueError("must say how long and how many, such as 90d,1000000 (units s, m, h, d)")
    return Retention(int(match["amount"]) * _UNIT_MS[match["unit"]], int(match["events"]))


def upper(value: object) -> object:
    """Log levels are written in either case."""
    return value.upper() if isinstance(value, str) else value
