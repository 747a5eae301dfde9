"""Where user-supplied and discovered addresses may lead: the guard against server-side request forgery."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx2

from broker.errors import AddressRefused, NotSent
from broker.upstream.name_lookup import NameLookup, system_addresses

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port to IP addresses, as text. Raises ``OSError`` when the name does not resolve,
:class:`NotSent` when it can't be asked for now."""

_ADDRESS = re.compile(r"""[^\x00-\x20\x7f-\U0010ffff\\"<>]+""")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_SPECIAL_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_SPECIAL_V6 = (
    IPv6Network("2001::/23"),  # IETF protocol assignments; Teredo is inside
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4: carries any IPv4 address
    IPv6Network("3fff::/20"),
)


def system_resolver() -> Resolver:
    """Asks the operating system, in threads of its own: a name that hangs must not hold up the event loop's."""
    look_up = NameLookup(system_addresses)

    async def resolve(host: str, _port: int) -> Sequence[str]:
        return await look_up(host)

    return resolve


def parse_address(address: str) -> httpx2.URL:
    """``address`` as a URL that may be called: https, or plain http on loopback; no user info, no fragment.

    :raises AddressRefused: it is anything else, or different parsers could read different hosts out of it.
    """
    if not _ADDRESS.fullmatch(address):
        raise AddressRefused("the address holds characters that an address can't have")
    try:
        url = httpx2.URL(address)
        host = url.host
    except (httpx2.InvalidURL, UnicodeError):  # the latter: an international name that is none (RFC 5891)
        raise AddressRefused("the address is not a valid URL") from None
    if not host or "%" in host or not (url.port is None or 0 < url.port < 65536):
        raise AddressRefused("the address has no valid host and port")
    if url.userinfo or url.fragment:
        raise AddressRefused("the address has user info or a fragment")
    if url.scheme == "https" or (url.scheme == "http" and is_loopback(host)):
        return url
    raise AddressRefused("an https address is required (plain http only on loopback)")


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine by itself: ``localhost``, 127/8 or ::1, in their plain spelling."""
    literal = _literal(host)
    return host == "localhost" or (literal is not None and literal.is_loopback)


def is_public(address: IPAddress) -> bool:
    """Whether ``address`` is globally routable unicast.

    Source: the IANA special-purpose address registries (RFC 6890). IPv6 is judged by what is allowed (global
    unicast) rather than by what is not, for the forms that embed an IPv4 address are too many to list.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL_V4)
    if address in _NAT64:  # all an IPv6-only network sees of IPv4 hosts (RFC 6052)
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _SPECIAL_V6)


def _literal(host: str) -> IPAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class AddressGuard:
    """Resolves a host and answers with the only addresses that may be dialled for it."""

    def __init__(self, allow: Collection[str | IPNetwork] = (), resolve: Resolver | None = None) -> None:
        """
        :param allow: host names and networks that may be reached although they are private.
        :param resolve: by default as the operating system does, in threads of its own.
        """
        self._hosts = frozenset(entry.lower() for entry in allow if isinstance(entry, str))
        self._networks = tuple(entry for entry in allow if not isinstance(entry, str))
        self._resolve = resolve or system_resolver()

    async def addresses(self, host: str, port: int) -> list[IPAddress]:
        """The addresses of ``host``, every one of them allowed. Dial these and resolve no second time:
        whoever controls the name could answer differently then (DNS rebinding).

        :raises AddressRefused: one of the addresses is not public, or the name is a disguise of an address.
        :raises NotSent: the name does not resolve, or not in time.
        """
        found = [literal] if (literal := _literal(host)) is not None else await self._look_up(host, port)
        if host not in self._hosts and not all(self._allowed(address) for address in found):
            raise AddressRefused(f"{host} is not a public address")
        return found

    async def _look_up(self, host: str, port: int) -> list[IPAddress]:
        if host not in self._hosts:
            _refuse_disguises(host)
        try:
            found = [ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        except (OSError, ValueError):
            found = []
        if not found:
            raise NotSent(f"the name {host} does not resolve")
        return list(dict.fromkeys(found))

    def _allowed(self, address: IPAddress) -> bool:
        return is_public(address) or any(address in network for network in self._networks)


def _refuse_disguises(host: str) -> None:
    """Refuse what a resolver may read as an address although it is not spelled as one: octal, hex, short."""
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:  # a trailing dot is refused here too
        raise AddressRefused("the address has no valid host name")
    if _ENDS_IN_A_NUMBER.fullmatch(host):
        raise AddressRefused(f"{host} is a number, not a name")
