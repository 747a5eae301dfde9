"""Who asks: the caller's address, behind whatever proxies stand before the broker."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from starlette.requests import Request

from broker.models.address import address_of

_WITH_PORT: Final = re.compile(r"(?P<IPv4>[\d.]+):\d+|\[(?P<IPv6>[^\]]+)\](?::\d+)?")
_UNKNOWN: Final = "unknown"


def client_address(request: Request, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address that made the request: the last one in ``X-Forwarded-For`` that no trusted proxy vouches for.

    Without trusted proxies the header is ignored: anybody can write it.
    """
    peer = request.scope.get("client")
    said = str(peer[0]) if peer else _UNKNOWN
    if not trusted_proxies:
        return said
    forwarded = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    address = address_of(said)
    while forwarded and address is not None and any(address in network for network in trusted_proxies):
        address = address_of(_without_port(forwarded.pop()))
    # A proxy that passes on what it was sent passes on anything; people read this, and limits count by it.
    return _UNKNOWN if address is None else str(address)


def _without_port(said: str) -> str:
    """Some proxies add the port: ``203.0.113.7:51234``, ``[2001:db8::7]:443``."""
    with_port = _WITH_PORT.fullmatch(said)
    return (with_port["IPv4"] or with_port["IPv6"]) if with_port else said
