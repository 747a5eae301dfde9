"""What of a device authorization answer may reach a terminal, a browser or a later request."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.errors import BrokerError, ProviderError
from broker.upstream.device_grant import DeviceCodes, parse_device_codes
from tests.upstream.conftest import NOW, provider_at
from tests.upstream.device_codes import ANSWER, CODES
from tests.upstream.practice_server import inbound


def read(**changes: object) -> DeviceCodes:
    """What is read out of the usual answer with changes; ``None`` leaves a member out."""
    document = {name: value for name, value in {**ANSWER, **changes}.items() if value is not None}
    return parse_device_codes(provider_at("https://provider.test"), inbound(document), now=NOW)


def test_codes_are_not_shown_by_accident() -> None:
    """One is worth the tokens, and whoever reads the other may approve in somebody's stead."""  # K1
    assert CODES.device_code not in repr(CODES)
    assert CODES.user_code not in repr(CODES)


def test_googles_spelling_is_read() -> None:
    """The draft's verification_url."""
    codes = read(
        verification_uri=None, verification_uri_complete=None, verification_url="https://www.provider.test/device"
    )
    assert (codes.verification_uri, codes.verification_uri_complete) == ("https://www.provider.test/device", None)


def test_a_form_encoded_answer() -> None:
    """As some answer who aren't asked for JSON."""
    body = b"device_code=dc-1&user_code=ABCD-EFGH&verification_uri=https%3A%2F%2Fp.test%2Fd&expires_in=899&interval=5"
    answer = inbound(body=body, headers={"content-type": "application/x-www-form-urlencoded"})
    codes = parse_device_codes(provider_at("https://provider.test"), answer, now=NOW)
    assert codes == DeviceCodes("dc-1", "ABCD-EFGH", "https://p.test/d", None, 899, 5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        7,
        ["A"],
        " WDJB",
        "WDJB\n",
        "WDJB\x1b[2J",
        "WDJB\x07",
        "WD\x9bJB",
        "WDJB\u202e",
        "W" * 65,
    ],
)
def test_a_user_code_that_a_terminal_would_obey_is_refused(value: object) -> None:
    """No control characters, nothing long, nothing that isn't text; and the error doesn't repeat it."""  # P2
    with pytest.raises(ProviderError, match=r"no usable user_code$"):
        read(user_code=value)


@pytest.mark.parametrize("value", ["1", "WDJB MJHT", "W" * 64, "123-456-789"])
def test_every_printable_user_code_is_handed_on(value: str) -> None:
    """Providers form theirs as they like."""
    assert read(user_code=value).user_code == value


@pytest.mark.parametrize("value", [None, "", 7, "two words", "a\r\nb", "d" * 4097, "ü"])
def test_a_device_code_that_can_not_be_sent_is_refused(value: object) -> None:
    """It must come back as it is."""  # P2
    with pytest.raises(ProviderError, match=r"no usable device_code$"):
        read(device_code=value)


BAD_ADDRESSES = [
    "",
    7,
    "device",
    "//provider.test/device",
    "http://provider.test/device",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https://user@provider.test/",
    "https://provider.test\\@other.test/",
    "https://provider.test/\x1b[31m",
    "https://provider.test/\n",
    "https://provider.test/" + "d" * 2048,
]


@pytest.mark.parametrize("value", [None, *BAD_ADDRESSES])
def test_an_address_that_nobody_should_be_sent_to_is_refused(value: object) -> None:
    """Https, or http on this machine; printable, and no longer than 2048."""  # E4
    with pytest.raises(ProviderError, match=r"no usable verification_uri$"):
        read(verification_uri=value)


@pytest.mark.parametrize("value", BAD_ADDRESSES)
def test_a_bad_complete_address_is_left_out(value: object) -> None:
    """The code and its address serve without it."""  # E4
    assert read(verification_uri_complete=value).verification_uri_complete is None


def test_this_machine_may_be_plain_http() -> None:
    """For the practice provider."""
    assert read(verification_uri="http://127.0.0.1:8/device").verification_uri == "http://127.0.0.1:8/device"


@pytest.mark.parametrize(
    ("expires_in", "lives"),
    [(1, 1), ("600", 600), (900, 900), (901, 900), (86_400, 900), (0, 900), (-1, 900), ("soon", 900), (None, 900)],
)
def test_how_long_the_codes_live(expires_in: object, lives: int) -> None:
    """Whole seconds, fifteen minutes at most (RFC 8628 §3.2 in our own face)."""  # P4
    assert read(expires_in=expires_in).expires_in == lives


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(1, 1), ("10", 10), (120, 120), (121, 120), (10**400, 120), (0, 5), (-5, 5), (True, 5), ({}, 5), (None, 5)],
)
def test_how_often_may_be_asked(interval: object, seconds: int) -> None:
    """Five seconds where the provider says nothing that makes sense (RFC 8628 §3.2)."""  # P4
    assert read(interval=interval).interval == seconds


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*ANSWER, "verification_url", "error", "ok"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2)),
    )
)
def test_no_answer_does_worse_than_fail(document: dict[str, object]) -> None:
    """Whatever comes back is codes that can be shown, or an error of ours."""  # P2
    try:
        codes = parse_device_codes(provider_at("https://provider.test"), inbound(document), now=NOW)
    except BrokerError:
        return
    assert codes.user_code.isascii()
    assert codes.user_code.isprintable()
    assert 1 <= codes.interval <= 120
    assert 1 <= codes.expires_in <= 900
