"""Each value that is more than a word or a number: what is accepted, what it becomes, what is refused."""

import base64
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()


def load(**variables: str) -> Settings:
    return load_settings({f"BROKER_{name}": value for name, value in variables.items()}, env_file=None)


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**variables)
    assert len(caught.value.faults) == 1
    return caught.value.faults[0]


@pytest.mark.parametrize(
    ("given_url", "issuer", "origin"),
    [
        ("https://broker.example", "https://broker.example", "https://broker.example"),
        ("https://Broker.Example:443/", "https://broker.example", "https://broker.example"),
        (
            "https://broker.example:8443/auth/",
            "https://broker.example:8443/auth",
            "https://broker.example:8443",
        ),
        ("http://127.0.0.1:80", "http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:8400/", "http://[::1]:8400", "http://[::1]:8400"),
        ("http://localhost:8400", "http://localhost:8400", "http://localhost:8400"),
    ],
)
def test_the_public_url_is_normalised(given_url: str, issuer: str, origin: str) -> None:
    """Issuers are compared character by character, so there is one way to write each."""
    settings = load(PUBLIC_URL=given_url)
    assert (settings.public_url, settings.issuer, settings.origin) == (issuer, issuer, origin)
    assert settings.secure == issuer.startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "http://broker.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
        "https://user@broker.example",
        "https://broker.example/?a=b",
        "https://broker.example/?",
        "https://broker.example/#",
        "https://broker.example/a b",
        "https://broker.example/a/../b",
        "https://broker.example//evil",
        "https://broker.example/%2e",
        "https://broker.example\\@evil.example",
        "https://broker.example\n",
        "https://broker.example:x",
        "https://broker.example:99999",
        "https://bröker.example",
        "https://-broker.example",
        "https://[::1",
        "https://",
        "broker.example",
        "ftp://broker.example",
    ],
)
def test_a_public_url_that_is_unsafe_or_ambiguous_is_refused(url: str) -> None:
    """Plain http off loopback, user names, queries, fragments and everything parsers disagree on."""
    assert refusal(PUBLIC_URL=url).startswith("BROKER_PUBLIC_URL: ")


@pytest.mark.parametrize(
    "url",
    ["redis://h:6379/0", "rediss://u:p@h", "unix:///run/valkey.sock", "redis+sentinel://h,i/s", "redis+cluster://h,i"],
)
def test_stores_of_every_kind_are_accepted(url: str) -> None:
    """Plain, TLS and unix socket, sentinels and Cluster."""
    assert load(REDIS_URL=url, ENCRYPTION_KEYS=f"a:{KEY}").redis_url is not None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://h", "lacks the name of the service"),
        ("redis+cluster://", "lacks a host"),
        ("http://h", "must start with redis://"),
        ("redis://", "lacks a host"),
        ("unix://", "lacks the path"),
        ("redis://h:port", "is not a valid URL"),
    ],
)
def test_other_stores_are_refused_with_the_reason(url: str, message: str) -> None:
    """Each fault names the variable and says what is missing or wrong."""
    assert message in refusal(REDIS_URL=url, ENCRYPTION_KEYS=f"a:{KEY}")


def test_encryption_keys_keep_their_order() -> None:
    """The first one writes. Both base64 alphabets are read."""
    other = bytes([251, 255] * 16)
    keys = load(ENCRYPTION_KEYS=f"new:{KEY}, old-1.a:{base64.urlsafe_b64encode(other).decode()}").encryption_keys
    assert keys == (("new", bytes(range(32))), ("old-1.a", other))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (KEY, "key 1 is not kid:base64"),
        (f"a:{KEY},", "key 2 is not kid:base64"),
        (f"a:{KEY},b:{KEY[:-1]}", "key 2 is not kid:base64"),
        (f"a:{KEY[:-2]}9=", "key 1 is not kid:base64"),
        (f"a:{base64.b64encode(bytes(range(31))).decode()}", "key 1 is not kid:base64"),
        (f"a:{base64.b64encode(bytes(range(33))).decode()}", "key 1 is not kid:base64"),
        (f"a b:{KEY}", "key 1 is not kid:base64"),
        (f"{'a' * 33}:{KEY}", "key 1 is not kid:base64"),
        (f"a:{KEY[:20]} {KEY[20:]}", "key 1 is not kid:base64"),
        (f"a:{KEY},a:{KEY}", "key 2 has the id of a key before it"),
    ],
)
def test_a_faulty_key_is_named_by_its_position(keys: str, message: str) -> None:
    """Format, length, strict base64, repeated ids."""
    fault = refusal(ENCRYPTION_KEYS=keys)
    assert message in fault
    assert KEY[:20] not in fault


@given(st.binary(min_size=32, max_size=32))
def test_every_key_of_32_bytes_is_read_back(key: bytes) -> None:
    """Strictness refuses no real key."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert load(ENCRYPTION_KEYS=f"k:{encode(key).decode()}").encryption_keys == (("k", key),)


def test_networks_and_hosts_are_parsed() -> None:
    """Host names in lower case, single addresses and networks."""
    settings = load(EGRESS_ALLOW="Intranet.Example, 10.0.0.0/8,::1", TRUSTED_PROXIES="192.0.2.1,fd00::/8")
    assert settings.egress_allow == ("intranet.example", ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.trusted_proxies == (ip_network("192.0.2.1"), ip_network("fd00::/8"))


@pytest.mark.parametrize("value", ["10.0.0.1/8", "300.1.1.1", "a_b", "*.example", "host:80", "http://host"])
def test_what_is_neither_host_nor_network_is_refused(value: str) -> None:
    """Host bits in a network, wildcards, ports and URLs are likely mistakes."""
    assert refusal(EGRESS_ALLOW=value).startswith("BROKER_EGRESS_ALLOW: ")


def test_a_mapped_network_is_the_network_that_it_maps() -> None:
    """Callers' addresses are compared in that form, too."""
    networks = load(TRUSTED_PROXIES="::ffff:10.0.0.0/104,::ffff:192.0.2.1,::/0,fd00::/8").trusted_proxies
    assert [str(network) for network in networks] == ["10.0.0.0/8", "192.0.2.1/32", "::/0", "fd00::/8"]


def test_trusted_proxies_are_never_names() -> None:
    """Whom to trust must not depend on a resolver."""
    assert refusal(TRUSTED_PROXIES="proxy.example").startswith("BROKER_TRUSTED_PROXIES: ")


def test_retention_says_how_long_and_how_many() -> None:
    """Both, with a unit; anything else is refused."""
    assert load(EVENTS_RETENTION="12h, 500").events_retention == (12 * 3_600_000, 500)
    for value in ("90d", "90,1000", "1000", "-1d,5", "1.5d,5", "9w,5"):
        assert "such as 90d,1000000" in refusal(EVENTS_RETENTION=value)


def test_events_sink_is_one_of_three() -> None:
    """Nothing, standard output, or a file that is named."""
    for value in ("none", "stdout", "file:/var/log/events.jsonl"):
        assert load(EVENTS_SINK=value).events_sink == value
    for value in ("file:", "kafka", "stdout,file:x"):
        assert refusal(EVENTS_SINK=value).startswith("BROKER_EVENTS_SINK: ")


def test_log_format_follows_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines for people on a terminal, JSON anywhere else, and what is set wins."""
    for is_terminal, expected in ((True, "console"), (False, "json")):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer)
        assert load().log_format == expected
        assert load(LOG_FORMAT="json", LOG_LEVEL="debug").log_format == "json"


def test_the_data_directory_may_start_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home directory, as in a shell."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(load(DATA_DIR="~/broker").data_dir) == "/home/somebody/broker"
