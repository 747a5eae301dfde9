"""The store's URL, of every kind: what it comes down to, what is refused, and that it never shows a password."""

import re

import pytest

from broker.settings.store_address import Node, StoreAddress, parse_store_address


def test_a_single_server_is_left_as_it_is() -> None:
    """redis-py reads it."""
    assert parse_store_address("rediss://u:p@h/1").url == "rediss://u:p@h/1"


def test_sentinels_are_listed_with_the_service() -> None:
    """Each with its port or 26379; the data's user, password, database and options are not theirs."""
    address = parse_store_address(
        "redis+sentinel://u:p%40w@s1,s2:7000,[::1]:7001/tokens/3?socket_keepalive=true&sentinel_username=watch"
        "&sentinel_password=w%26d"
    )
    assert (address.kind, address.service) == ("sentinel", "tokens")
    assert address.nodes == (Node("s1", 26_379), Node("s2", 7_000), Node("::1", 7_001))
    assert address.url_of(Node("10.0.0.1", 6_379)) == "redis://u:p%40w@10.0.0.1:6379/3?socket_keepalive=true"
    assert address.url_of_sentinel(Node("::1", 7_001)) == "redis://[::1]:7001/?username=watch&password=w%26d"


@pytest.mark.parametrize(
    "url", ["redis+sentinel://s?service_name=t&db=2", "redis+sentinel://s/other/1?service_name=t&db=2"]
)
def test_service_and_database_may_be_options(url: str) -> None:
    """As other programs spell them; an option counts more than the path."""
    address = parse_store_address(url)
    assert (address.service, address.db) == ("t", "2")


@pytest.mark.parametrize(
    "url", ["rediss+sentinel://s/t?ssl_ca_certs=/ca.pem", "redis+sentinel://s/t?ssl=true&ssl_ca_certs=/ca.pem"]
)
def test_tls_holds_for_data_and_sentinels(url: str) -> None:
    """By scheme or option; the authority that is trusted is one for both."""
    address = parse_store_address(url)
    assert address.url_of(Node("h", 1)) == "rediss://h:1/?ssl_ca_certs=%2Fca.pem"
    assert address.url_of_sentinel(Node("s", 2)) == "rediss://s:2/?ssl_ca_certs=%2Fca.pem"


def test_sentinels_can_do_without_tls() -> None:
    """Where only the data is reached over TLS."""
    address = parse_store_address("rediss+sentinel://s/t?sentinel_ssl=false&ssl_ca_certs=/ca.pem")
    assert address.url_of(Node("h", 1)).startswith("rediss://")
    assert address.url_of_sentinel(Node("s", 2)) == "redis://s:2/"


def test_a_cluster_is_a_list_of_nodes() -> None:
    """Any of them will do to begin with."""
    address = parse_store_address("redis+cluster://u:p@a,b:7000?ssl=yes")
    assert (address.kind, address.nodes) == ("cluster", (Node("a", 6_379), Node("b", 7_000)))
    assert address.url_of(Node("a", 6_379)) == "rediss://u:p@a:6379/"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://canary", "lacks the name of the service"),
        ("redis+sentinel://canary/", "lacks the name of the service"),
        ("redis+sentinel:///canary", "lacks a host"),
        ("redis+sentinel://a,,b/canary", "lacks a host"),
        ("redis+sentinel://a/canary/x", "must end in /SERVICE or /SERVICE/db"),
        ("redis+sentinel://a/canary?db=x", "a number as db"),
        ("redis+sentinel://a/canary?ssl=perhaps", "true or false as ssl"),
        ("redis+sentinel://a;b/canary", "host:port, separated by commas"),
        ("redis+sentinel://a:99999/canary", "is not a valid URL"),
        ("redis+sentinel://a:0/canary", "is not a valid URL"),
        ("redis+sentinel://a/s#canary", "is not a valid URL"),
        ("redis+cluster://canary/1", "must not name a database"),
        ("redis+cluster://canary?db=1", "must not name a database"),
        ("redis+cluster://", "lacks a host"),
        ("redis+proxy://canary", "must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"),
        ("redis://canary:port", "is not a valid URL"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(url: str, message: str) -> None:
    """The value may hold a password."""  # K1
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        parse_store_address(url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://canary:canary@h", "h:6379"),
        ("unix://canary:canary@/run/s.sock?password=canary", "/run/s.sock"),
        ("redis+sentinel://canary:canary@a,[::1]/t?sentinel_password=canary", "the sentinels a:26379, [::1]:26379"),
        ("redis+cluster://canary:canary@a,b:7?ssl_password=canary", "the Cluster nodes a:6379, b:7"),
    ],
)
def test_a_place_names_neither_user_nor_password(url: str, place: str) -> None:
    """It is shown to people, and so is what Python shows of the object."""  # K1
    address: StoreAddress = parse_store_address(url)
    assert address.place == place
    assert "canary" not in repr(address)
