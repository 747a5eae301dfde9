"""One host, one address."""

import pytest

from broker.models.address import address_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::203.0.113.7", "::cb00:7107"),
        ("fe80::1%eth0 <b>", "fe80::1"),
    ],
)
def test_an_address_is_read_whatever_way_it_is_written(text: str, address: str) -> None:
    """An IPv4 address as a socket for both families says it is the IPv4 address; only that form is."""
    assert str(address_of(text)) == address


@pytest.mark.parametrize("text", ["", "unknown", "localhost", "203.0.113", "203.0.113.7:80", "[::1]", "10.0.0.0/8"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Names, ports and networks are not."""
    assert address_of(text) is None
