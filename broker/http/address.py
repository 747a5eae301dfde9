"""Who asks: the caller's address, behind whatever proxies stand before the broker."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from starlette.requests import Request


def client_address(request: Request, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address that made the request: the last one in ``X-Forwarded-For`` that no trusted proxy vouches for.

    Without trusted proxies the header is ignored: anybody can write it.
    """
    peer = request.scope.get("client")
    address = str(peer[0]) if peer else "unknown"
    if not trusted_proxies:
        return address
    forwarded = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    while forwarded and _within(address, trusted_proxies):
        address = forwarded.pop()
    # A proxy that passes on what it was sent passes on anything; people read this, and limits count by it.
    return address if _is_address(address) else "unknown"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
