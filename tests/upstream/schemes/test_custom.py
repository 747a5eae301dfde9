"""Schemes that an entry describes itself: what the templates make of a credential and a request."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.schemes import custom
from broker.upstream.schemes.request import Signature, UnsignableError, Unsigned
from broker.upstream.schemes.signing import covers_body

NOW = 1_700_000_000_123
BODY = b'{"text": "\xc3\xa9"}'
REQUEST = Unsigned("POST", "https://API.example.com:8443/v1/a%20b?x=1&y=", {}, BODY, hashlib.sha256(BODY).hexdigest())
FIELDS = {"key_id": {"label": "Key ID", "secret": False}, "secret": {"label": "Secret"}}
HELD = {"key_id": "k-1", "secret": "the signing secret"}


def signed(
    request: Unsigned = REQUEST,
    *,
    held: Mapping[str, str] = HELD,
    values: Mapping[str, str] | None = None,
    random: int = 0,
    **entry: Any,
) -> Signature:
    """What an entry puts on a request."""
    provider = Provider.model_validate(
        {"name": "own", "display_name": "Own", "type": "custom", "fields": FIELDS, **entry}
    )
    return custom.sign(
        provider,
        values or {},
        Credential("", fields=held),
        request,
        now=NOW,
        randomness=lambda count: bytes([random]) * count,
    )


def computed(request: Unsigned = REQUEST, *, held: Mapping[str, str] = HELD, **part: Any) -> str:
    """What one computed part comes out as."""
    signature = signed(request, held=held, computed={"part": part}, headers={"X-Part": "{part}"})
    return signature.headers["x-part"]


def test_fields_and_parameters_stand_where_the_templates_want_them() -> None:
    """In headers and in the query, with text around them."""
    signature = signed(
        parameters={"region": {"label": "Region"}},
        values={"region": "eu"},
        headers={"Authorization": "Key {key_id}:{secret}", "X-Region": "{region}"},
        query={"key": "{key_id}", "at": "{region}/{method}"},
    )
    assert signature == Signature(
        {"authorization": "Key k-1:the signing secret", "x-region": "eu"}, {"key": "k-1", "at": "eu/POST"}
    )


def test_every_part_of_the_request_can_be_used() -> None:
    """As it will be sent; an empty path is a slash."""
    parts = ("method", "url", "host", "path", "query", "target", "body_sha256")
    signature = signed(query={name: f"{{{name}}}" for name in parts})
    assert signature.query == {
        "method": "POST",
        "url": "https://API.example.com:8443/v1/a%20b?x=1&y=",
        "host": "api.example.com:8443",
        "path": "/v1/a%20b",
        "query": "x=1&y=",
        "target": "/v1/a%20b?x=1&y=",
        "body_sha256": hashlib.sha256(BODY).hexdigest(),
    }
    bare = signed(Unsigned("GET", "https://api.example.com"), query={"target": "{target}", "query": "{query}"})
    assert bare.query == {"target": "/"}


def test_what_comes_out_empty_is_left_out() -> None:
    """An optional field that nobody filled in leaves no empty header behind."""
    fields = {**FIELDS, "domain": {"label": "Domain", "optional": True}}
    signature = signed(fields=fields, headers={"X-Domain": "{domain}", "X-Key": "{key_id}"}, query={"d": "{domain}"})
    assert signature == Signature({"x-key": "k-1"})


def test_a_value_that_looks_like_a_name_is_text() -> None:
    """Nothing is replaced twice: a field can't reach for another."""
    held = {"key_id": "{secret}", "secret": "{method}"}
    assert signed(held=held, headers={"X-Key": "{key_id}"}).headers == {"x-key": "{secret}"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({}, "1700000000"),
        ({"format": "milliseconds"}, "1700000000123"),
        ({"format": "rfc3339"}, "2023-11-14T22:13:20Z"),
        ({"format": "http_date"}, "Tue, 14 Nov 2023 22:13:20 GMT"),
    ],
)
def test_the_time_of_the_request(part: dict[str, Any], expected: str) -> None:
    """In the form that the provider reads."""
    assert computed(function="timestamp", **part) == expected


def test_a_nonce_is_new_for_every_request() -> None:
    """128 bits, from the system's own source."""
    assert computed(function="nonce") == "00" * 16
    provider = Provider.model_validate(
        {
            "name": "own", "display_name": "Own", "type": "custom",
            "computed": {"nonce": {"function": "nonce"}}, "headers": {"X-Nonce": "{nonce}"},
        }
    )  # fmt: skip
    drawn = {custom.sign(provider, {}, Credential(""), REQUEST, now=NOW).headers["x-nonce"] for _ in range(100)}
    assert len(drawn) == 100


@pytest.mark.parametrize("digest", ["sha256", "sha512", "sha1", "md5"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_digests_and_encodings(digest: str, encoding: str) -> None:
    """As Python's own modules have them; base64url without padding."""
    text = b"POST\n" + BODY
    written: Callable[[bytes], str] = {
        "hex": bytes.hex,
        "base64": lambda value: base64.b64encode(value).decode(),
        "base64url": lambda value: base64.urlsafe_b64encode(value).decode().rstrip("="),
    }[encoding]
    over: dict[str, Any] = {"over": "{method}\n{body}", "digest": digest, "encoding": encoding}
    assert computed(function="hash", **over) == written(hashlib.new(digest, text).digest())
    mac = hmac.new(b"the signing secret", text, digest).digest()
    assert computed(function="hmac", key="{secret}", **over) == written(mac)


@pytest.mark.parametrize(("encoding", "secret"), [("base64", "AAEC/w=="), ("hex", "000102ff")])
def test_a_key_may_be_written_in_another_way(encoding: str, secret: str) -> None:
    """Then it is read before it signs; one that can't be read signs nothing, and isn't repeated."""
    part: dict[str, Any] = {"function": "hmac", "over": "{method}", "key": "{secret}", "key_encoding": encoding}
    mac = hmac.new(b"\x00\x01\x02\xff", b"POST", "sha256").hexdigest()
    assert computed(held={**HELD, "secret": secret}, **part) == mac
    with pytest.raises(UnsignableError, match=f"the key of part is not {encoding}") as refused:
        computed(held={**HELD, "secret": "not-such-a-key"}, **part)
    assert "not-such-a-key" not in refused.value.detail


def test_parts_use_those_before_them() -> None:
    """A signing key that is derived, as in several providers' schemes."""
    signature = signed(
        computed={
            "day": {"function": "timestamp", "format": "rfc3339"},
            "derived": {"function": "hmac", "over": "{day}", "key": "v1{secret}"},
            "mac": {"function": "hmac", "over": "{method}", "key": "{derived}", "key_encoding": "hex"},
        },
        headers={"X-Mac": "{mac}"},
    )
    derived = hmac.new(b"v1the signing secret", b"2023-11-14T22:13:20Z", "sha256").digest()
    assert signature.headers == {"x-mac": hmac.new(derived, b"POST", "sha256").hexdigest()}


def test_base64_of_two_fields() -> None:
    """What providers call Basic and isn't."""
    assert computed(function="base64", over="{key_id}/{secret}") == base64.b64encode(b"k-1/the signing secret").decode()


def test_a_body_that_is_covered_has_to_be_at_hand() -> None:
    """Otherwise the request can't be signed, and the error says why; a digest is enough where only that is covered."""
    request = Unsigned("POST", "https://api.example.com/", {}, None, "ab" * 32)
    with pytest.raises(UnsignableError, match="body"):
        computed(request, function="hash", over="{body}")
    assert computed(request, function="base64", over="{body_sha256}")


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "é", " a", "a ", "\x00"])
def test_what_no_header_can_hold_is_not_sent(value: str) -> None:
    """Neither another header nor a mangled one; the error names the header, not the value."""
    with pytest.raises(UnsignableError, match="x-key") as refused:
        signed(held={**HELD, "key_id": value}, headers={"X-Key": "{key_id}"})
    assert value not in refused.value.detail.replace(" can't", "")[:20]


@pytest.mark.parametrize(
    ("over", "expected"), [("{method}{path}", "nothing"), ("{body_sha256}", "digest"), ("{body}{body_sha256}", "body")]
)
def test_what_is_covered_of_the_body_is_known_before(over: str, expected: str) -> None:
    """So that only bodies that have to be are kept in memory."""
    provider = Provider.model_validate(
        {
            "name": "own", "display_name": "Own", "type": "custom",
            "computed": {"mac": {"function": "hash", "over": over}}, "headers": {"X-Mac": "{mac}"},
        }
    )  # fmt: skip
    assert covers_body(provider) == expected
