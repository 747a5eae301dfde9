"""Taking a request in: capped before it is parsed, refused where it could be read in two ways."""

import asyncio
from collections.abc import Iterable, Iterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from broker.errors import InvalidRequest, InvalidToken, PayloadTooLarge, Unauthenticated, UnsupportedMediaType
from broker.http import reading
from broker.http.reading import BODY_LIMIT, bearer_token, parse_form, read_body, single_query

FORM = "application/x-www-form-urlencoded"


class Sender:
    """A caller that sends a body in chunks; knows how many were taken."""

    def __init__(self, chunks: Iterable[bytes], *, hangs_up: bool = False) -> None:
        self.taken = 0
        self._chunks: Iterator[bytes] = iter(chunks)
        self._hangs_up = hangs_up

    async def __call__(self) -> Message:
        chunk = next(self._chunks, None)
        if chunk is None:
            return {"type": "http.disconnect"} if self._hangs_up else {"type": "http.request", "body": b""}
        self.taken += 1
        return {"type": "http.request", "body": chunk, "more_body": True}


def a_request(receive: object = None, query: bytes = b"", method: str = "POST", **headers: str) -> Request:
    """A request with these headers (``_`` stands for ``-``)."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "query_string": query, "headers": pairs}
    return Request(scope, receive or Sender([]))  # type: ignore[arg-type]


async def test_a_body_of_the_right_type_is_read() -> None:
    """In as many pieces as it comes, whatever parameters follow its type."""
    request = a_request(Sender([b"a=", b"1"]), content_type=f"{FORM.upper()}; charset=UTF-8")
    assert await read_body(request, FORM) == b"a=1"


async def test_an_empty_body_needs_no_type() -> None:
    """A POST without parameters is a POST."""
    assert await read_body(a_request(), "application/json") == b""


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", "application/json5"])
async def test_another_type_is_refused(content_type: str) -> None:
    """No guessing: what is not declared as the one type is not parsed."""  # S10
    with pytest.raises(UnsupportedMediaType):
        await read_body(a_request(Sender([b"{}"]), content_type=content_type), "application/json")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_type_without_a_body_is_no_fault_where_none_is_needed(method: str) -> None:
    """Many clients send ``Content-Type`` with every request; a body that is there must still be of the one type."""
    request = a_request(method=method, content_type="application/x-www-form-urlencoded")
    assert await read_body(request, "application/json") == b""
    with pytest.raises(UnsupportedMediaType):
        await read_body(a_request(Sender([b"{}"]), method=method, content_type="text/plain"), "application/json")
    with pytest.raises(UnsupportedMediaType):
        await read_body(a_request(content_type="text/plain"), "application/json")


@pytest.mark.parametrize("coding", ["gzip", "identity", "br, gzip"])
async def test_a_content_coding_is_refused(coding: str) -> None:
    """A small body can't unpack into a large one, because none is unpacked."""  # S11
    request = a_request(Sender([b"{}"]), content_type="application/json", content_encoding=coding)
    with pytest.raises(UnsupportedMediaType):
        await read_body(request, "application/json")


async def test_a_body_announced_too_large_is_refused_unread() -> None:
    """Not a byte of it is taken."""  # S11
    sender = Sender([b"x"])
    with pytest.raises(PayloadTooLarge):
        await read_body(a_request(sender, content_length="10000000", content_type=FORM), FORM)
    assert sender.taken == 0


@pytest.mark.parametrize("announced", ["", "5", "-1", "nonsense"])
async def test_endless_chunks_are_cut_off_at_the_limit(announced: str) -> None:
    """Whatever was announced: reading stops with the chunk that goes beyond the limit."""  # S11

    sender = Sender(b"x" * 1024 for _ in range(BODY_LIMIT))
    with pytest.raises(PayloadTooLarge):
        await read_body(a_request(sender, content_length=announced, content_type=FORM), FORM)
    assert sender.taken == BODY_LIMIT // 1024 + 1


async def test_size_is_judged_before_type() -> None:
    """The same request is 413, whatever it claims to be."""
    with pytest.raises(PayloadTooLarge):
        await read_body(a_request(Sender([b"x" * (BODY_LIMIT + 1)]), content_type="image/png"), FORM)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    """The limit is the last size that is fine."""
    body = await read_body(a_request(Sender([b"x" * BODY_LIMIT]), content_type=FORM), FORM)
    assert len(body) == BODY_LIMIT


async def test_a_caller_that_hangs_up_is_answered_as_one() -> None:
    """Half a body is never parsed as a whole one."""
    with pytest.raises(InvalidRequest, match="did not arrive in full"):
        await read_body(a_request(Sender([b"a=1"], hangs_up=True), content_type=FORM), FORM)


async def test_a_body_that_never_ends_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that sends nothing more does not hold the request for ever."""  # S11
    monkeypatch.setattr(reading, "_SECONDS_FOR_A_BODY", 0.01)

    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("never set")

    with pytest.raises(InvalidRequest, match="did not arrive in full"):
        await read_body(a_request(silent, content_type=FORM), FORM)


def test_a_form_is_read_as_utf_8() -> None:
    """Percent-encoding and plus signs as in HTML forms; empty parameters count as absent (RFC 6749 §3.2)."""
    assert parse_form("a=1&b=x+y%20z&c=%C3%A9&d=é&e=&f".encode()) == {"a": "1", "b": "x y z", "c": "é", "d": "é"}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"a=urn%3Ax%3ay", "urn:x:y"),
        (b"a=%253A", "%3A"),
        (b"a=%%3A41", "%:41"),
        (b"a=%3%3AA", "%3:A"),
        (b"a=%2525", "%25"),
    ],
)
def test_what_is_encoded_is_decoded_once(body: bytes, value: str) -> None:
    """Nothing that a decoded character stands beside becomes an encoded one."""
    assert parse_form(body) == {"a": value}


@pytest.mark.parametrize(
    "body", [b"a=1&a=1", b"a=1&a=2", b"a=1&a=", b"a=&a=", b"%61=1&a=2", b"a%3A=1&a:=2", b"client_id=x&client_id=x"]
)
def test_a_repeated_parameter_is_refused(body: bytes) -> None:
    """Also the same value twice, an empty one, and one in disguise (RFC 6749 §3.2)."""  # S9
    with pytest.raises(InvalidRequest, match="more than once"):
        parse_form(body)


def test_resource_and_audience_may_repeat() -> None:
    """RFC 8707 and RFC 8693 allow it."""
    assert parse_form(b"resource=https://a.example&resource=https://b.example&audience=a&audience=b").keys() == {
        "resource",
        "audience",
    }


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%ff", b"a=\xc3", b"&".join(b"f%d=1" % i for i in range(1001))])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    """Not UTF-8, or 1001 fields."""  # S11
    with pytest.raises(InvalidRequest, match="not a form"):
        parse_form(body)


def test_a_query_parameter_given_twice_is_refused() -> None:
    """The broker and a proxy before it can't read it differently."""  # S9
    assert single_query(a_request(query=b"a=1&b=")) == {"a": "1", "b": ""}
    for query in (b"a=1&a=2", b"a=1&a=1", b"a=&a="):
        with pytest.raises(InvalidRequest):
            single_query(a_request(query=query))


def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme() -> None:
    """RFC 9110 §11.1: schemes are case-insensitive."""
    for header in ("Bearer bat_x", "bearer bat_x", "BEARER   bat_x "):
        assert bearer_token(a_request(authorization=header)) == "bat_x"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic bat_x", "bat_x", "Bearer brt_x", "Bearer bat_\xe9"])
def test_anything_else_is_no_broker_token(header: str) -> None:
    """Another scheme, another kind of token, none at all."""
    with pytest.raises(Unauthenticated):
        bearer_token(a_request(authorization=header))


@pytest.mark.parametrize(
    ("header", "presented"),
    [("Bearer brt_x", True), ("Bearer bat_\xe9", True), ("Bearer", False), ("Basic bat_x", False), ("", False)],
)
def test_only_a_token_that_was_presented_is_an_invalid_one(header: str, presented: bool) -> None:
    """RFC 6750 §3.1: no error code where a request lacks authentication or tries another scheme."""
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(a_request(authorization=header))
    assert isinstance(caught.value, InvalidToken) is presented


def test_two_authorization_headers_are_none() -> None:
    """Nobody can say which one a proxy looked at."""  # S9
    request = a_request()
    request.scope["headers"] = [(b"authorization", b"Bearer bat_x"), (b"authorization", b"Bearer bat_y")]
    with pytest.raises(Unauthenticated):
        bearer_token(request)


def test_an_empty_value_hides_no_other() -> None:
    """Of a parameter that may be repeated, what was named counts, in whichever order."""  # S9
    assert parse_form(b"audience=foo&audience=") == {"audience": "foo"}
    assert parse_form(b"audience=&audience=foo") == {"audience": "foo"}
