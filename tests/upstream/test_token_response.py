"""The parser of token answers: what providers get wrong must neither crash it nor be believed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRefused
from broker.upstream.egress import InboundResponse
from broker.upstream.token_response import CAUTIOUS_LIFETIME, TokenSet, parse_token_response
from tests.upstream.conftest import NOW, provider_at
from tests.upstream.practice_server import inbound

ORIGIN = "https://provider.test"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def parse(
    document: object = None, *, entry: dict[str, Any] | None = None, refreshed: bool = False, **answer: Any
) -> TokenSet:
    """Parse an answer to a request for the scopes ``a b``."""
    return parse_token_response(
        provider_at(ORIGIN, **(entry or {})),
        inbound(document, **answer),
        requested_scopes=["a", "b"],
        now=NOW,
        secrets=["the-code-that-was-sent"],
        refreshed=refreshed,
    )


def test_a_standard_answer() -> None:
    """RFC 6749 §5.1 as it is written."""
    tokens = parse(
        {
            "access_token": "at-1",
            "token_type": "bearer",
            "expires_in": 3600,
            "refresh_token": "rt-1",
            "scope": "a b c",
        }
    )
    assert tokens == TokenSet("at-1", "rt-1", 3600, ("a", "b", "c"))
    assert "at-1" not in repr(tokens)
    assert "rt-1" not in repr(tokens)


def test_a_form_encoded_answer() -> None:
    """The same, the way some still send it."""
    tokens = parse(body=b"access_token=at-1&scope=a%2Cb&token_type=bearer&expires_in=60", headers=FORM)
    assert tokens == TokenSet("at-1", None, 60, ("a", "b"))


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        0.5,
        "0",
        "-3600",
        "abc",
        "",
        "1e3",
        "0x10",
        "inf",
        "nan",
        "٣",
        {},
        [],
        [3600],
        True,
        False,
        1e309,
        -1e309,
        -(10**400),
    ],
)
def test_a_senseless_lifetime_is_a_short_one(value: object) -> None:
    """Neither for ever, nor dead on arrival, nor a crash."""  # P4
    assert parse({"access_token": "x", "expires_in": value}).expires_in == CAUTIOUS_LIFETIME


def test_a_lifetime_that_is_no_number_of_json_is_a_short_one() -> None:
    """Python reads NaN and Infinity where JSON has none."""  # P4
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        assert parse(body=b'{"access_token": "x", "expires_in": ' + word + b"}").expires_in == CAUTIOUS_LIFETIME


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 1),
        ("3600", 3600),
        (" 3600 ", 3600),
        ("3600.5", 3600),
        (3600.9, 3600),
        (10**400, 315_360_000),
        ("999999999999", 315_360_000),
    ],
)
def test_a_lifetime_in_another_guise_is_read(value: object, seconds: int) -> None:
    """Text and fractions are numbers too; ten years are the most."""  # P4
    assert parse({"access_token": "x", "expires_in": value}).expires_in == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(15_897_600, 15_897_600), ("3600", 3600), (3600.5, 3600), (10**30, 315_360_000), (0, None), (-1, None)],
)
@pytest.mark.parametrize("present", [True, False])
def test_how_long_the_refresh_token_lives(value: object, seconds: int | None, present: bool) -> None:
    """Where it is named and makes sense; otherwise nothing is known, for a guess would be an end that isn't one."""
    tokens = parse({"access_token": "x", **({"refresh_token_expires_in": value} if present else {})})
    assert tokens.refresh_token_expires_in == (seconds if present else None)
    assert tokens.refresh_token_expires_at == (seconds * 1000 if present and seconds else None)


@pytest.mark.parametrize("value", ["abc", {}, [], None, True, "", "inf"])
def test_a_senseless_life_of_the_refresh_token_is_none(value: object) -> None:
    """What is no number says nothing."""  # P4
    assert parse({"access_token": "x", "refresh_token_expires_in": value}).refresh_token_expires_in is None


@pytest.mark.parametrize("absent", [{}, {"expires_in": None}])
def test_a_missing_lifetime(absent: dict[str, object]) -> None:
    """No end, unless the entry names one for tokens that can be refreshed."""  # P4
    entry = {"refresh": {"default_expires_in": 1800}}
    renewable = {"access_token": "x", "refresh_token": "r", **absent}
    assert parse({"access_token": "x", **absent}, entry=entry).expires_in is None
    assert parse(renewable).expires_in is None
    assert parse(renewable, entry=entry).expires_in == 1800
    assert parse({**renewable, "expires_in": 60}, entry=entry).expires_in == 60


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}, ["r"], " ", "r\n", "r\ud800"])
def test_a_refresh_token_that_is_none(value: object) -> None:
    """Absent in any spelling means: the old one stays."""  # P5
    assert parse({"access_token": "x", "refresh_token": value}).refresh_token is None
    assert parse({"access_token": "x"}).refresh_token is None


@pytest.mark.parametrize(
    ("value", "separator", "scopes"),
    [
        ("a", " ", ("a",)),
        ("a c  b", " ", ("a", "c", "b")),
        ("a,c", " ", ("a", "c")),
        ("a, c", ",", ("a", "c")),
        ("a;c", ";", ("a", "c")),
        ("a]c", "]", ("a", "c")),
        (["a", "c", 1, None], " ", ("a", "c")),
        ("a a", " ", ("a",)),
        ("a \x1bc", " ", ("a",)),
        ("", " ", ()),
        ([], " ", ()),
        (None, " ", ("a", "b")),
        (7, " ", ("a", "b")),
    ],
)
def test_scopes_in_every_shape(value: object, separator: str, scopes: tuple[str, ...]) -> None:
    """Separated by anything usual or an array; fewer than asked are fewer; unsaid means what was asked."""  # P6
    assert parse({"access_token": "x", "scope": value}, entry={"scope_separator": separator}).scopes == scopes


@pytest.mark.parametrize(
    ("said", "scopes"),
    [("a", ("a", "b")), ("a b", ("a", "b")), ("", ("b",)), (None, ("a", "b")), ("c", ("c", "b"))],
)
def test_a_scope_that_is_never_listed_counts_as_granted(said: str | None, scopes: tuple[str, ...]) -> None:
    """Where it was asked for; what else is not listed was not granted."""  # P6
    entry = {"token_response": {"unlisted_scopes": ["b", "never-asked"]}}
    document = {"access_token": "x"} | ({} if said is None else {"scope": said})
    assert parse(document, entry=entry).scopes == scopes


@pytest.mark.parametrize("token_type", ["bearer", "BEARER", "bot", "user", "", None, 7, ["bearer"]])
def test_other_token_types_are_served_as_bearer(token_type: object) -> None:
    """What a provider calls its bearer tokens doesn't matter."""
    assert parse({"access_token": "x", "token_type": token_type}).token_type == "Bearer"


@pytest.mark.parametrize("token_type", ["DPoP", "mac", "PoP", " dpop "])
def test_sender_constrained_tokens_are_refused(token_type: str) -> None:
    """A token that wants a key of its own can't be handed on."""
    with pytest.raises(ProviderError, match="sender-constrained"):
        parse({"access_token": "x", "token_type": token_type})


def test_fields_stand_where_the_entry_says() -> None:
    """A user's token deep in the answer, and fields worth keeping, are data of the entry."""
    entry = {
        "token_response": {
            "access_token": "/authed_user/access_token",
            "refresh_token": "/authed_user/refresh_token",
            "expires_in": "/authed_user/expires_in",
            "scope": "/authed_user/scope",
            "keep": {"team": "/team/id", "owner": "/owner", "gone": "/nowhere", "odd": "/odd", "huge": "/huge"},
        }
    }
    document = {
        "ok": True,
        "access_token": "of-the-bot",
        "authed_user": {"access_token": "of-the-user", "refresh_token": "r", "expires_in": 43200, "scope": "a,c"},
        "team": {"id": "T1"},
        "owner": {"type": "user", "ids": [1, 2]},
        "odd": "\ud800",
        "huge": "x" * 5000,
    }
    tokens = parse(document, entry=entry)
    assert tokens == TokenSet(
        "of-the-user",
        "r",
        43200,
        ("a", "c"),
        provider_data={"team": "T1", "owner": {"type": "user", "ids": [1, 2]}},
    )
    del document["authed_user"]
    with pytest.raises(OutcomeUnknown):
        parse(document, entry=entry)


def test_a_refresh_may_be_answered_elsewhere() -> None:
    """What the entry doesn't name for refreshes stands where it stands in other answers."""
    entry = {
        "token_response": {
            "access_token": "/user/access_token",
            "refresh_token": "/user/refresh_token",
            "scope": "/user/scope",
            "on_refresh": {"access_token": "/access_token", "scope": "/scope"},
        }
    }
    answer = {
        "access_token": "at-2",
        "scope": "a",
        "user": {"access_token": "x", "refresh_token": "rt-2", "scope": "b"},
    }
    assert parse(answer, entry=entry) == TokenSet("x", "rt-2", None, ("b",))
    assert parse(answer, entry=entry, refreshed=True) == TokenSet("at-2", "rt-2", None, ("a",))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "invalid_grant", "error_description": "token revoked"}',
        b'{"ok": false, "error": "invalid_grant", "error_description": "token revoked", "access_token": "x"}',
        b"error=invalid_grant&error_description=token+revoked",
    ],
)
def test_an_error_is_a_refusal_whatever_the_status(status: int, body: bytes) -> None:
    """In a 200 or a 403, as JSON or as a form, with a token beside it or not."""  # P3
    with pytest.raises(ProviderRefused) as caught:
        parse(body=body, status=status, headers={})
    assert (caught.value.error, caught.value.http_status) == ("invalid_grant", status)
    assert "token revoked" in caught.value.detail


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope", "server_error"])
def test_another_error_keeps_its_own_name(error: str) -> None:
    """Nothing but ``invalid_grant`` ever reads as ``invalid_grant``."""  # P8
    with pytest.raises(ProviderRefused) as caught:
        parse({"error": error}, status=401)
    assert caught.value.error == error


def test_the_provider_s_own_word_for_a_dead_grant_is_understood() -> None:
    """A code that the entry lists under ``invalid_grant`` reads as ``invalid_grant``; others don't."""  # P7
    entry = {"token_response": {"invalid_grant": ["bad_refresh_token"]}}
    with pytest.raises(ProviderRefused) as caught:
        parse({"error": "bad_refresh_token"}, status=200, entry=entry)
    assert caught.value.error == "invalid_grant"
    with pytest.raises(ProviderRefused) as caught:
        parse({"error": "bad_refresh_token"}, status=200)
    assert caught.value.error == "bad_refresh_token"


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"[]", b"{}", b'{"message": "no"}', b'{"access_token": "x"}']
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 302])
def test_a_no_without_a_reason_is_no_verdict(status: int, body: bytes) -> None:
    """A 4xx that names no error fails, also when it brings a token, but says nothing about the grant."""  # P3
    with pytest.raises(ProviderError) as caught:
        parse(body=body, status=status)
    assert not isinstance(caught.value, ProviderRefused)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>hello</html>",
        b'{"token": "x"}',
        b'{"access_token": ""}',
        b'{"access_token": null}',
        b'{"access_token": 7}',
        b'{"access_token": {}}',
        b'{"access_token": ["x"]}',
        b'{"access_token": "x\\n"}',
        b'{"access_token": "x\\u0000"}',
        b'{"access_token": "\\ud800"}',
        b'{"access_token": "' + b"x" * 20_000 + b'"}',
        b'{"access_token": "x", "access_token": "y"}',
        b'{"access_token": "\xff"}',
        b'{"access_token": "x"',
        b"[" * 100_000,
    ],
)
def test_a_success_without_a_usable_token_leaves_the_outcome_unknown(body: bytes) -> None:
    """The code or the refresh token may be spent: neither a token nor a refusal."""  # P2 P3
    with pytest.raises(OutcomeUnknown):
        parse(body=body)


@pytest.mark.parametrize("document", [{"error": "invalid_grant"}, {"access_token": "x"}])
def test_a_failing_provider_neither_grants_nor_refuses(document: object) -> None:
    """A 5xx is unknown and a 429 is busy, whatever they bring."""  # P2 P8
    with pytest.raises(OutcomeUnknown):
        parse(document, status=500)
    with pytest.raises(ProviderBusy):
        parse(document, status=429)


@pytest.mark.parametrize("echo", ["the-code-that-was-sent", "an-access-token-just-issued"])
def test_a_refusal_repeats_neither_what_was_sent_nor_what_was_issued(echo: str) -> None:
    """A provider that quotes secrets in its errors doesn't make us do so."""  # K1
    document = {
        "error": "invalid_grant",
        "error_description": f"bad: {echo}",
        "access_token": "an-access-token-just-issued",
    }
    with pytest.raises(ProviderRefused) as caught:
        parse(document, status=400)
    assert echo not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "scope", "token_type", "error", "error_description", "ok"]
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(json.dumps).map(str.encode),
    st.dictionaries(FIELDS, JSON | st.just("x"), max_size=8).map(json.dumps).map(str.encode),
)
HEADERS = st.dictionaries(st.sampled_from(["content-type", "retry-after"]), st.text(max_size=30))


@settings(deadline=None)
@given(status=st.integers(100, 999), body=BODIES, headers=HEADERS)
def test_no_answer_does_anything_unforeseen(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Any bytes under any status: usable tokens, or one of the errors that callers know."""  # P2 P3 P4 P5
    provider = provider_at(ORIGIN, token_response={"keep": {"kept": "/scope"}})
    answer = InboundResponse(status, headers, body)
    try:
        tokens = parse_token_response(provider, answer, requested_scopes=["a"], now=NOW)
    except (OutcomeUnknown, ProviderBusy, ProviderError):
        return
    assert 200 <= status < 300
    assert tokens.access_token.isascii()
    assert tokens.access_token.isprintable()
    assert tokens.refresh_token is None or tokens.refresh_token
    assert tokens.expires_in is None or tokens.expires_in >= 1
    json.dumps(tokens.provider_data, allow_nan=False).encode()


@pytest.mark.parametrize(("depth", "kept"), [(10, True), (20, False), (400, False)])
def test_what_is_nested_deeply_is_not_kept(depth: int, kept: bool) -> None:
    """A provider can't plant what no answer of ours could be made of."""  # P2
    team: Any = "name"
    for _ in range(depth):
        team = [team]
    entry = {"token_response": {"keep": {"team": "/team"}}}
    document = {"access_token": "a-token-of-the-provider", "token_type": "Bearer", "team": team}
    assert ("team" in parse(document, entry=entry).provider_data) is kept


def test_a_hostile_scope_costs_no_time() -> None:
    """Comparing it with the tokens beside it takes time in proportion to the answer; too long a scope is none."""  # P2
    scope = " ".join([("a" * 15 + "b") * 15] * 4000)
    document = {"access_token": "a" * 16_384, "refresh_token": "a" * 16_383, "scope": scope, "expires_in": 60}
    assert parse(document).scopes == (("a" * 15 + "b") * 15,)
    document = {"access_token": "at-1", "scope": " ".join(["x" * 256, *(f"s{n}" for n in range(1000))])}
    scopes = parse(document).scopes
    assert (len(scopes), scopes[0]) == (500, "s0")
