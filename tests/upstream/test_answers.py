"""Reading answers: bodies in the wild, refusals that repeat no secret, and requests for patience."""

import math
from base64 import b64encode

import pytest

from broker.errors import OutcomeUnknown, ProviderBusy, ProviderError
from broker.upstream.answers import NAMELESS_ERROR, Unspeakable, raise_if_unavailable, read_object, refusal_in
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import inbound

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
HTML = {"content-type": "text/html"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"a": "b c"}', {"content-type": "application/json"}),
        (b'\xef\xbb\xbf {"a": "b c"}\r\n', {}),
        (b'{"a": "b c"}', HTML),
        (b'{"a": "b c"}', FORM),
        (b"a=b+c", FORM),
        (b"a=b%20c\n", {"content-type": "text/plain"}),
        (b"a=b+c", {}),
    ],
)
def test_json_and_forms_are_read_whatever_their_label(body: bytes, headers: dict[str, str]) -> None:
    """Providers mislabel; the body says what it is."""
    assert read_object(inbound(body=body, headers=headers)) == {"a": "b c"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"[]", {}),
        (b'"text"', {}),
        (b"null", {}),
        (b"[" * 100_000, {}),
        (b'{"a":' * 100_000, {}),
        (b'{"a": 1, "a": 2}', {}),
        (b'{"b": {"a": 1, "a": 2}}', {}),
        (b'{"a": "\xff"}', {}),
        (b"a=%ff", FORM),
        (b"a=1&a=2", FORM),
        (b"a", FORM),
        (b"&".join([b"a=1"] * 2000), FORM),
        (b"error=invalid_grant", HTML),
        (b"error=invalid_grant", {"content-type": "application/json"}),
        (b"<a href=x&error=invalid_grant>", {}),
        (b"<html><body>Internal Server Error</body></html>", HTML),
        (b"\x00\x01", {}),
    ],
)
def test_nothing_is_read_into_what_is_neither(body: bytes, headers: dict[str, str]) -> None:
    """HTML, arrays, doubled members, endless depth and broken text are unreadable, and nothing worse."""  # P2
    assert read_object(inbound(body=body, headers=headers)) is None


@pytest.mark.parametrize("document", [{"error": None}, {"error": ""}, {"error": False}, {"ok": True}, {}])
def test_an_empty_error_is_no_refusal(document: dict[str, object]) -> None:
    """Some providers send the field all the time."""
    assert refusal_in(document) is None


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"ok": False, "error": "token_revoked"}, "token_revoked"),
        ({"ok": False}, NAMELESS_ERROR),
        ({"error": True}, NAMELESS_ERROR),
        ({"error": {"message": "no"}}, NAMELESS_ERROR),
        ({"error": "\x1b[31mbad\r\n\u202e"}, "[31mbad"),
        ({"error": "x" * 100}, "x" * 64),
    ],
)
def test_a_refusal_is_found_and_cleaned(document: dict[str, object], code: str) -> None:
    """The code is printable, short, and there in any case."""  # P3
    refusal = refusal_in(document)
    assert refusal is not None
    assert refusal.code == code


def test_a_refusal_stands_where_the_entry_says() -> None:
    """Pointers lead to the code and its description; a plain ``error`` counts all the same."""
    document: dict[str, object] = {"status": "BAD_CODE", "message": "missing or unknown"}
    assert str(refusal_in(document, error="/status", description="/message")) == "BAD_CODE (missing or unknown)"
    assert str(refusal_in({"error": "nope"}, error="/status")) == "nope"


SECRET = "a-refresh-token-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"unknown token {SECRET}",
        f"unknown token {SECRET[:16]}...",
        f"unknown token ...{SECRET[-16:]}",
        SECRET,
        f"unknown token {SECRET.upper()}",
        "unknown token " + SECRET.encode().hex(),
        "unknown token " + b64encode(SECRET.encode()).decode(),
        "GET /whoami?token=" + "".join(f"%{ord(character):02x}" for character in SECRET),
    ],
)
@pytest.mark.parametrize("field", ["error", "error_description"])
def test_a_refusal_never_repeats_a_secret(text: str, field: str) -> None:
    """A text with any telling piece of what was sent is left out whole."""  # K1
    refusal = refusal_in({"error": "invalid_grant", field: text}, secrets=["", SECRET])
    assert refusal is not None
    assert "token" not in str(refusal)
    assert refusal.code == (NAMELESS_ERROR if field == "error" else "invalid_grant")


@pytest.mark.parametrize("secret", [SECRET[:16], SECRET, "".join(f"-{number}" for number in range(1000, 1200))])
def test_no_piece_of_sixteen_characters_is_overlooked(secret: str) -> None:
    """Wherever it begins in the secret, and in each spelling; fifteen characters with others around them are no piece
    of it."""  # K1
    unspeakable = Unspeakable([secret])
    for spelt in (secret, secret.upper(), secret.encode().hex(), b64encode(secret.encode()).decode().rstrip("=")):
        for start in range(len(spelt) - 15):
            assert unspeakable.repeated_in(f"<{spelt[start : start + 16]}>")
            assert not unspeakable.repeated_in(f"<{spelt[start : start + 15]}>{spelt[start + 1 : start + 16]}>")


def test_a_trivial_secret_does_not_garble_the_code() -> None:
    """What decisions hang on survives a client secret of three letters; one of eight is guarded."""
    document: dict[str, object] = {"error": "invalid_grant", "error_description": "bad hunter22 given"}
    refusal = refusal_in(document, secrets=["val", "hunter22"])
    assert str(refusal) == "invalid_grant"


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (429, None, None),
        (429, "7", 7),
        (429, "0", 1),
        (429, "999999999999999999999", 3600),
        (429, "Tue, 14 Nov 2023 22:14:20 GMT", 60),
        (429, "Tue, 14 Nov 2023 22:14:20 -0000", 60),
        (429, "Tue, 14 Nov 2000 22:14:20 GMT", 1),
        (429, "Tue, 14 Nov 9999 22:14:20 GMT", 3600),
        (429, "soon", None),
        (429, "-5", None),
        (429, "²", None),
        (503, "7", 7),
    ],
)
def test_a_busy_provider_says_for_how_long(status: int, header: str | None, expected: int | None) -> None:
    """429, and 503 with Retry-After: seconds or a date, between a second and an hour."""  # P8
    answer = inbound({"error": "invalid_grant"}, status=status, headers={"retry-after": header} if header else {})
    with pytest.raises(ProviderBusy) as caught:
        raise_if_unavailable(answer, now=NOW)
    assert caught.value.retry_after == expected


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 999])
def test_a_failing_provider_says_nothing(status: int) -> None:
    """Whatever stands in a 5xx, it is no verdict."""  # P2
    with pytest.raises(OutcomeUnknown):
        raise_if_unavailable(inbound({"error": "invalid_grant"}, status=status), now=NOW)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error(status: int) -> None:
    """A redirect is reported, not followed."""  # E3
    with pytest.raises(ProviderError, match="redirects"):
        raise_if_unavailable(inbound(status=status), now=NOW)


@pytest.mark.parametrize("status", [200, 201, 204, 400, 401, 403])
def test_other_answers_are_for_the_reader(status: int) -> None:
    """Successes and refusals pass on to whoever asked."""
    raise_if_unavailable(inbound({}, status=status), now=NOW)


def test_a_number_without_end_hides_nothing_beside_it() -> None:
    """Python reads no integer of ten thousand digits; the token beside it would be lost with it."""  # P4
    document = read_object(inbound(body=b'{"access_token": "at-1", "expires_in": ' + b"9" * 10_000 + b"}"))
    assert document == {"access_token": "at-1", "expires_in": math.inf}
