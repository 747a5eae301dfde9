"""Targets of requests: the short way says what the parser of addresses says."""

from urllib.parse import unquote

import httptools
import pytest

from broker.app.target import parts_of


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/a/b",
        b"/a?b=c",
        b"/a?",
        b"/?",
        b"/a?b?c",
        b"/a#b",
        b"/a?b#c",
        b"/a#b?c",
        b"//a/b?c",
        b"///",
        b"/:1@b",
        b"/%2f%00%zz?%20",
        b"/%c3%a9",
        b"http://a/b?c",
        b"http://a/%2e",
        b"/../a",
        b"/http://a?b",
        b"/[a]",
    ],
)
def test_a_path_is_where_the_parser_finds_it(target: bytes) -> None:
    """Whatever else stands in the target."""
    address = httptools.parse_url(target)
    meant = unquote(address.path.decode("ascii"))
    assert parts_of(target) == (meant, address.path, address.query or b"")


@pytest.mark.parametrize("target", [b"http://a", b"a:443", b"", b"/\xe9", b"/a?\xe9", b"http:///"])
def test_what_has_no_path_is_refused(target: bytes) -> None:
    """There is nothing to answer for (RFC 9112 §3.2)."""
    with pytest.raises((httptools.HttpParserInvalidURLError, UnicodeDecodeError)):
        parts_of(target)
