"""Addresses below an API's: joined, compared and given parameters without being rewritten."""

import pytest

from broker.errors import InvalidRequest
from broker.upstream import api_address

BASE = "https://api.example/v1"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{BASE}/a/b?c=/d", "/a/b"),
        (f"{BASE}/", "/"),
        (BASE, "/"),
        (f"{BASE}?x", "/"),
        (f"{BASE}%2Fa", None),
        (f"{BASE}1/a", None),
        ("https://api.example/V1/a", None),
        ("https://api.example/a", None),
        ("https://api.example", None),
        (f"{BASE}//a", "//a"),
    ],
)
def test_the_path_below_is_what_follows_as_it_is_written(url: str, path: str | None) -> None:
    """Allow lists are compared with it."""
    assert api_address.path_below(url, BASE) == path


def test_below_an_api_at_the_root_everything_is_below() -> None:
    """The address has no path of its own."""
    assert api_address.path_below("https://api.example/a", "https://api.example") == "/a"
    assert api_address.below("https://api.example", "/a", "b=c") == "https://api.example/a?b=c"


@pytest.mark.parametrize("path", ["", "a", "@elsewhere.example/a", ":443/a", ".elsewhere.example/a", "?a", "#a"])
def test_what_does_not_begin_with_a_slash_goes_nowhere(path: str) -> None:
    """It would become a part of the host, or end it."""  # G1
    with pytest.raises(InvalidRequest):
        api_address.below("https://api.example", path, "")


@pytest.mark.parametrize("url", ["https://api.example?@evil.example/", "https://api.example?a=b@evil.example/x"])
def test_a_query_in_the_place_of_a_path_names_no_other_host(url: str) -> None:
    """Some read all that stands before the first slash as user info and host."""  # G1
    with pytest.raises(InvalidRequest):
        api_address.of_the_api(url, BASE)


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("https://a.example/x", "https://a.example/x?k=%26+%3D".replace("+", "%20")),
        ("https://a.example/x?", "https://a.example/x?k=%26%20%3D"),
        ("https://a.example/x?b=%20&c=+", "https://a.example/x?b=%20&c=+&k=%26%20%3D"),
        ("https://a.example/x?k=1&K=2&%6b=3&b;k=4&kk=5", "https://a.example/x?kk=5&k=%26%20%3D"),
    ],
)
def test_a_parameter_takes_the_place_of_the_callers(url: str, result: str) -> None:
    """Of every spelling of its name; the others stay as they are."""
    assert api_address.with_query(url, {"k": "& ="}) == result
    assert api_address.with_query(url, {}) == url
