"""Tokens for an app's installation: the request, the answer, and what a refusal means."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from broker.errors import InvalidRequest, OutcomeUnknown, ProviderBusy, ProviderError, ProviderRefused
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream import github_app
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.token_response import TokenSet
from tests.pems import PUBLIC_PEM, RSA_PEM
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import PracticeServer, inbound, json_answer

PATH = "/v3/app/installations/42/access_tokens"
ENDS = "2023-11-14T23:13:20Z"
"""An hour after ``NOW``."""
GRANTED = {"token": "ghs_token-0123456789", "expires_at": ENDS, "permissions": {"contents": "read", "issues": "write"}}


def app(origin: str, **entry: Any) -> Provider:
    """An entry for an app."""
    return Provider.model_validate(
        {
            "name": "app",
            "display_name": "App",
            "type": "github_app",
            "client_id": "Iv1.entry",
            "private_key": RSA_PEM,
            "api": {"base_url": f"{origin}/v3/"},
            **entry,
        }
    )


def read(document: object = GRANTED, *, status: int = 201, own_key: bool = False, date: str = "") -> TokenSet:
    """What is made of an answer."""
    headers = {"content-type": "application/json", **({"date": date} if date else {})}
    answer = inbound(document, status=status, headers=headers)
    return github_app.parse_answer(answer, own_key=own_key, asked_at=NOW, now=NOW, secrets=["the-app-jwt-0123456789"])


async def test_the_request_names_the_installation_and_proves_the_app(server: PracticeServer, egress: Egress) -> None:
    """The JWT is the app's, backdated by a minute, over within ten; nothing else says who asks."""
    server.answers[PATH] = json_answer(GRANTED, status=201)
    tokens = await github_app.issue(
        egress,
        lambda: NOW,
        app(server.origin),
        values={},
        credential=Credential("", fields={"installation_id": "42"}),
        scopes=(),
    )
    (asked,) = server.asked
    scheme, _, assertion = asked.headers["authorization"].partition(" ")
    claims = jwt.decode(assertion, RSAKey.import_key(PUBLIC_PEM), algorithms=["RS256"]).claims
    assert (asked.method, asked.target, asked.body, scheme) == ("POST", PATH, b"", "Bearer")
    assert claims == {"iss": "Iv1.entry", "iat": NOW // 1000 - 60, "exp": NOW // 1000 + 540}
    assert (tokens.access_token, tokens.refresh_token) == ("ghs_token-0123456789", None)
    assert tokens.scopes == ("contents:read", "issues:write")
    assert tokens.expires_at == NOW + 3_600_000


async def test_a_key_that_was_handed_in_wins_and_the_address_may_be_another(
    server: PracticeServer, egress: Egress
) -> None:
    """With its own client id, at the entry's own address, narrowed to the scopes."""
    server.answers["/in/42"] = json_answer(GRANTED, status=201)
    provider = app(server.origin, token_endpoint=f"{server.origin}/in/{{installation_id}}", client_id="x")
    fields = {"installation_id": "42", "client_id": "Iv1.own", "private_key": RSA_PEM}
    credential = Credential("", fields=fields)
    await github_app.issue(
        egress, lambda: NOW, provider, values={}, credential=credential, scopes=("contents:read", "issues:write")
    )
    (asked,) = server.asked
    assertion = asked.headers["authorization"].removeprefix("Bearer ")
    assert jwt.decode(assertion, RSAKey.import_key(PUBLIC_PEM), algorithms=["RS256"]).claims["iss"] == "Iv1.own"
    assert asked.json == {"permissions": {"contents": "read", "issues": "write"}}


def test_an_app_is_who_its_api_is() -> None:
    """Its tokens are asked for at an address that depends on the installation, so that none stands for all."""
    provider = app("https://api.example", token_endpoint="https://in.example/{installation_id}")
    endpoints = resolve(provider, {}, None)
    assert (endpoints.token, endpoints.minted_by) == (None, "https://api.example")


@pytest.mark.parametrize(
    ("installation", "scopes"),
    [("../42", ()), ("4/2", ()), ("", ()), ("٤٢", ()), ("42", ("contents",)), ("42", (":a",))],
)
def test_what_does_not_look_right_is_not_sent(installation: str, scopes: tuple[str, ...]) -> None:
    """The installation becomes a part of the path."""
    with pytest.raises(InvalidRequest):
        github_app.build_request(
            app("https://api.example"), "https://x/{installation_id}", {}, installation, "j", scopes
        )


@pytest.mark.parametrize(
    ("status", "own_key", "code"),
    [
        (401, False, "invalid_client"),
        (401, True, "invalid_grant"),
        (404, False, "invalid_grant"),
        (404, True, "invalid_grant"),
        (422, False, "invalid_scope"),
    ],
)
def test_what_a_refusal_means(status: int, own_key: bool, code: str) -> None:
    """Only where the installation is gone, or the key is the connection's own, is the connection's credential over."""
    with pytest.raises(ProviderRefused) as refused:
        read({"message": "No, the-app-jwt-0123456789"}, status=status, own_key=own_key)
    assert (refused.value.error, refused.value.http_status) == (code, status)
    assert "jwt" not in refused.value.detail


@pytest.mark.parametrize(
    ("document", "status", "error"),
    [
        ({"message": "suspended"}, 403, ProviderError),
        ({"message": "wait"}, 429, ProviderBusy),
        ({}, 500, OutcomeUnknown),
        ({}, 201, OutcomeUnknown),
        ({"token": "a\r\nb"}, 201, OutcomeUnknown),
        ({"token": 5}, 201, OutcomeUnknown),
        ([], 201, OutcomeUnknown),
    ],
)
def test_other_answers_end_nothing(document: object, status: int, error: type[Exception]) -> None:
    """A suspended installation may come back; nonsense says nothing."""
    with pytest.raises(error) as raised:
        read(document, status=status)
    assert not isinstance(raised.value, ProviderRefused)


@pytest.mark.parametrize(
    ("ends", "date", "expected"),
    [
        (ENDS, "", 3600),
        (ENDS, "Tue, 14 Nov 2023 22:13:20 GMT", 3600),
        (ENDS, "Tue, 14 Nov 2023 22:23:20 GMT", 3000),  # our clock is ten minutes slow
        (ENDS, "Tue, 14 Nov 2023 22:03:20 GMT", 3600),  # or fast
        (ENDS, "yesterday", 3600),
        ("2023-11-15T00:13:20+01:00", "", 3600),
        ("2023-11-14T22:00:00Z", "", 300),  # over already
        ("soon", "", 300),
        (5, "", 300),
        (None, "", None),
    ],
)
def test_how_long_a_token_lives(ends: object, date: str, expected: int | None) -> None:
    """By the slower of the two clocks; a moment that can't be read is a short life, none is none."""
    document = {name: value for name, value in {**GRANTED, "expires_at": ends}.items() if value is not None}
    assert read(document, date=date).expires_in == expected


@pytest.mark.parametrize("permissions", [None, [], "x", {"contents": "ghs_token-0123456789"}, {"a b": "read"}, {1: {}}])
def test_permissions_that_are_none_are_no_scopes(permissions: object) -> None:
    """Nor is a token that stands among them."""
    assert read({**GRANTED, "permissions": permissions}).scopes == ()
