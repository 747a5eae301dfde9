"""What the grants share: how a token request is encoded, authenticated and sent."""

import pytest

from broker.errors import NotSent, OutcomeUnknown, ProviderError
from broker.upstream.client_auth import basic
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.token_endpoint import request_token
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer

FIELDS = {"grant_type": "practice", "code": "the-code-that-is-sent"}
TOKENS = json_answer({"access_token": "at-1"})


async def request(egress: Egress, make_provider: MakeProvider, **entry: object) -> TokenSet:
    """One token request of an entry."""
    provider = make_provider(**entry)
    endpoints = resolve(provider, {}, None)
    return await request_token(egress, lambda: NOW, provider, endpoints, FIELDS, requested_scopes=["a"])


async def test_a_form_with_basic(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """By default a form, the secret in the header and nowhere else."""
    server.answers["/token"] = TOKENS
    assert await request(egress, make_provider) == TokenSet("at-1", None, None, ("a",))
    (asked,) = server.asked
    assert (asked.method, asked.form) == ("POST", FIELDS)
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["authorization"] == basic("client-one", "client-secret-0123456789")


async def test_json_and_what_the_entry_adds(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """Encoding, headers and parameters are data; they replace nothing that the grant sends."""
    server.answers["/token"] = TOKENS
    await request(
        egress,
        make_provider,
        token_body="json",
        token_headers={"Practice-Version": "2", "Accept": "application/practice+json"},
        token_params={"audience": "all"},
    )
    (asked,) = server.asked
    assert asked.json == {**FIELDS, "audience": "all"}
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["practice-version"] == "2"
    assert asked.headers["accept"] == "application/practice+json"


async def test_the_secret_in_the_body(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """With ``client_secret_post`` there is no Authorization header."""
    server.answers["/token"] = TOKENS
    await request(egress, make_provider, token_endpoint_auth_method="client_secret_post")
    (asked,) = server.asked
    assert asked.form == {**FIELDS, "client_id": "client-one", "client_secret": "client-secret-0123456789"}
    assert "authorization" not in asked.headers


async def test_a_redirect_ends_there(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """A token endpoint that points elsewhere gets no second request there, not even to itself."""  # E3
    async with practice_server() as elsewhere:
        server.answers["/token"] = raw_answer(307, b"", {"location": f"{elsewhere.origin}/token"})
        with pytest.raises(ProviderError, match="redirects"):
            await request(egress, make_provider)
        assert len(server.asked) == 1
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(500, b"<html>oops</html>"),
        raw_answer(502),
        raw_answer(503),
        raw_answer(200, b"<html>hello</html>", {"content-type": "text/html"}),
        raw_answer(200, b"[]"),
        raw_answer(200, b"x" * 2_000_000),
        json_answer({"error": "invalid_grant"}, 500),
        b"",
    ],
)
async def test_an_unreadable_answer_is_never_a_refusal(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, answer: bytes
) -> None:
    """Sent and not understood is unknown; nothing is sent a second time."""  # P2
    server.answers["/token"] = answer
    with pytest.raises(OutcomeUnknown):
        await request(egress, make_provider)
    assert len(server.asked) == 1


async def test_an_entry_that_is_not_ready_asks_nothing(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """Without a client secret nothing leaves."""
    with pytest.raises(NotSent):
        await request(egress, make_provider, client_secret=None)
    assert server.asked == []
