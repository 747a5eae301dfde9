"""Taking a request in: capped before it is parsed, and refused where it could be read in two ways."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Message

from broker.errors import InvalidRequest, InvalidToken, PayloadTooLarge, Unauthenticated, UnsupportedMediaType
from broker.http.eagerly import Patience, within

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a request body that are read at most."""
_FIELDS_AT_MOST: Final = 100
_SECONDS_FOR_A_BODY: Final = 20.0
_DIGITS_AT_MOST: Final = 19
_GONE: Final[Message] = {"type": "http.disconnect"}
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})
_MAY_REPEAT: Final = frozenset({"resource", "audience"})
"""Parameters that RFC 8707 and RFC 8693 allow to be given more than once."""


async def read_body(request: Request, *content_types: str) -> bytes:
    """The body, which must be of one of ``content_types`` unless it is empty.

    Where a method needs no body, a content type without one is let pass: many clients send it with every request.

    :raises PayloadTooLarge: more than :data:`BODY_LIMIT` bytes, announced or sent.
    :raises UnsupportedMediaType: another content type, or a content coding.
    :raises InvalidRequest: the body stops short, or takes too long to arrive.
    """
    # Several lines of one of these are no list: whichever counts, it is one line that counts.
    fields = dict(request.scope["headers"])
    announced = fields.get(b"content-length", b"0")
    if announced.isdigit() and announced_size(announced) > BODY_LIMIT:
        raise PayloadTooLarge(f"a body may have {BODY_LIMIT} bytes")
    patience = Patience(_SECONDS_FOR_A_BODY)
    body, more = b"", True
    while more:
        try:
            message = await within(patience, request.receive())
        except TimeoutError:
            message = _GONE
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the body did not arrive in full")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise PayloadTooLarge(f"a body may have {BODY_LIMIT} bytes")
    declared = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    promised = declared and request.method not in _BODILESS
    if (body or promised) and declared not in content_types:
        raise UnsupportedMediaType(f"a body must be {' or '.join(content_types)}")
    if b"content-encoding" in fields:
        raise UnsupportedMediaType("a body must not be compressed")
    return body


def announced_size(digits: bytes) -> int:
    """The number of bytes that a Content-Length of nothing but digits announces (RFC 9110 §8.6).

    It may have any number of digits: of one that is larger than anything can be, the beginning is answered.
    """
    return int(digits.lstrip(b"0")[:_DIGITS_AT_MOST] or 0)


def parse_form(body: bytes) -> Mapping[str, str]:
    """The parameters of a form body; empty ones count as absent (RFC 6749 §3.2).

    :raises InvalidRequest: not UTF-8, too many fields, or one that is given twice.
    """
    try:
        pairs = parse_qsl(
            # Names of grants are full of colons, which mean nothing to a form: so what is left to decode is little.
            body.replace(b"%3A", b":").decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FIELDS_AT_MOST,
        )
    except ValueError:
        raise InvalidRequest("the body is not a form of at most 100 UTF-8 fields") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters and name not in _MAY_REPEAT:
            raise InvalidRequest("a parameter is given more than once")
        # Of one that may be repeated, an empty value hides no other.
        parameters[name] = value or parameters.get(name, "")
    return {name: value for name, value in parameters.items() if value}


def single_query(request: Request) -> Mapping[str, str]:
    """The query parameters.

    :raises InvalidRequest: one is given twice.
    """
    pairs = request.query_params.multi_items()
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise InvalidRequest("a query parameter is given more than once")
    return parameters


def bearer_token(request: Request) -> str:
    """The broker token of the one Authorization header (RFC 6750 §2.1).

    :raises InvalidToken: what the header holds can't be a broker token.
    :raises Unauthenticated: no such header, several, or another scheme.
    """
    needed = "a broker token is needed: Authorization: Bearer bat_…"
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated(needed)
    if not token.startswith(b"bat_") or not token.isascii():
        raise InvalidToken(needed)
    return str(token, "ascii")
