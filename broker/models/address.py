"""Addresses of hosts: the same host is the same address, however it was written."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address that ``text`` says, or ``None``.

    A socket that is open for both families names IPv4 hosts by IPv6 addresses (``::ffff:203.0.113.7``, RFC 4291
    §2.5.5.2); so do the proxies behind one. That is the IPv4 address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    # Without the zone, which means something to the one machine alone that wrote it down (RFC 4007 §11).
    return address.ipv4_mapped or IPv6Address(int(address))
