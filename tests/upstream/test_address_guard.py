"""The guard: what counts as public, which spellings are refused, and what the operator may allow."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from broker.errors import AddressRefused, NotSent
from broker.upstream.address_guard import AddressGuard, is_public, parse_address

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - nothing is bound here
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "100::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]


class Resolver:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if not self.addresses:
            raise OSError
        return self.addresses


@pytest.mark.parametrize("address", PRIVATE)
def test_special_addresses_are_not_public(address: str) -> None:
    """Whatever is not globally routable unicast is not public, also inside of IPv6."""  # E1
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_global_addresses_are_public(address: str) -> None:
    """Ordinary addresses are public, and so is what an IPv6-only network makes of them."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_special_address_is_refused(address: str) -> None:
    """One special address among public ones is enough to refuse the name."""  # E1
    guard = AddressGuard(resolve=Resolver("8.8.8.8", address))
    with pytest.raises(AddressRefused):
        await guard.addresses("provider.test", 443)


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_special_address_is_refused_as_it_is(address: str) -> None:
    """A literal is judged without asking anybody."""  # E1
    resolver = Resolver("8.8.8.8")
    with pytest.raises(AddressRefused):
        await AddressGuard(resolve=resolver).addresses(address, 443)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "10.1",
        "provider.test.",
        "127.0.0.1.",
        "provider..test",
        "-provider.test",
        "",
        "provider.0x10",
        "x" * 64 + ".test",
        ".".join(["label"] * 50),
    ],
)
async def test_disguised_addresses_are_refused_unresolved(host: str) -> None:
    """Octal, hexadecimal, decimal and short forms, and names with a trailing dot, never meet a resolver."""  # E1
    resolver = Resolver("8.8.8.8")
    with pytest.raises(AddressRefused):
        await AddressGuard(resolve=resolver).addresses(host, 443)
    assert resolver.asked == []


async def test_localhost_is_refused() -> None:
    """The machine's own name leads to itself, with the system's resolver."""  # E1
    with pytest.raises(AddressRefused):
        await AddressGuard().addresses("localhost", 443)


async def test_a_public_name_answers_its_addresses_once() -> None:
    """What was checked is what is handed back, each address once, in the resolver's order."""
    guard = AddressGuard(resolve=Resolver("1.1.1.1", "8.8.8.8", "1.1.1.1"))
    assert await guard.addresses("provider.test", 443) == [ip_address("1.1.1.1"), ip_address("8.8.8.8")]


async def test_allowed_names_and_networks_pass() -> None:
    """The operator lets chosen private places through; their neighbours stay refused."""
    guard = AddressGuard(
        allow=("Intranet.test", ip_network("10.1.0.0/16"), ip_network("fd00::/8")), resolve=Resolver("10.2.0.1")
    )
    assert await guard.addresses("intranet.test", 443) == [ip_address("10.2.0.1")]
    assert await guard.addresses("10.1.2.3", 443) == [ip_address("10.1.2.3")]
    assert await guard.addresses("fd00::1", 443) == [ip_address("fd00::1")]
    for refused in ("other.intranet.test", "10.2.0.1", "intranet.test.", "fe80::1"):
        with pytest.raises(AddressRefused):
            await guard.addresses(refused, 443)


async def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    """No address is no refusal: nothing reached anybody."""
    with pytest.raises(NotSent):
        await AddressGuard(resolve=Resolver()).addresses("provider.test", 443)


@pytest.mark.parametrize(
    "address",
    [
        "http://provider.test/token",
        "http://127.0.0.1.provider.test/",
        "http://[::ffff:127.0.0.1]/",
        "ftp://provider.test/",
        "javascript:alert(1)",
        "//provider.test/",
        "provider.test",
        "https://",
        "https:///token",
        "https://user@provider.test/",
        "https://user:secret@provider.test/",
        "https://provider.test/#part",
        "https://provider.test:0/",
        "https://provider.test:99999/",
        "https://provider.test:port/",
        "https://provider.test\\@evil.test/",
        "https://provider.test /",
        "https://provider.test/\n",
        "https://provider.test/\x00",
        "https://pr%6fvider.test/",
        "https://[fe80::1%25eth0]/",
        "https://provider\u3002test/",
        "https://\u2460.test/",
        "https://0177.0.0.1/",
        "https://xn--bcher-kva.test../",
        "https://xn--bcher-kva.test%00/",
        "",
    ],
)
def test_addresses_that_are_never_called(address: str) -> None:
    """Whoever wrote it: no plain http off loopback, no user info, nothing that two parsers read differently."""
    with pytest.raises(AddressRefused):
        parse_address(address)


@pytest.mark.parametrize(
    "address",
    ["https://provider.test/token?a=b", "http://localhost:8080/", "http://127.0.0.1:1/", "http://[::1]:1/"],
)
def test_addresses_that_may_be_called(address: str) -> None:
    """https anywhere, plain http on this machine."""
    assert str(parse_address(address)) == address
