"""Tokens for a service account: the assertion, the request, the answer."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from broker.errors import ProviderRefused
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream import service_account
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.token_response import TokenSet
from tests.pems import PUBLIC_PEM, RSA_PEM
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import PracticeServer, json_answer

FIELDS = {"client_email": "robot@project.example", "private_key": RSA_PEM, "private_key_id": "k1"}


async def issued(server: PracticeServer, egress: Egress, *, fields: dict[str, str], **entry: Any) -> TokenSet:
    """Ask for a token."""
    provider = Provider.model_validate(
        {
            "name": "robots",
            "display_name": "Robots",
            "type": "google_service_account",
            "token_endpoint": f"{server.origin}/token",
            **entry,
        }
    )
    return await service_account.issue(
        egress,
        lambda: NOW,
        provider,
        resolve(provider, {}, None),
        credential=Credential("", fields=fields),
        scopes=("a.read", "b.write"),
    )


async def test_the_assertion_is_the_accounts_own(server: PracticeServer, egress: Egress) -> None:
    """RFC 7523 §3: for the token endpoint, of now, over soon, signed by the named key; no client authenticates."""
    server.answers["/token"] = json_answer({"access_token": "ya29.token-0123456789", "expires_in": 3599})
    tokens = await issued(server, egress, fields=FIELDS, token_params={"audience": "x"}, token_headers={"X-A": "b"})
    (asked,) = server.asked
    form = asked.form
    token = jwt.decode(form.pop("assertion"), RSAKey.import_key(PUBLIC_PEM), algorithms=["RS256"])
    assert token.header["kid"] == "k1"
    assert token.claims == {
        "iss": "robot@project.example",
        "scope": "a.read b.write",
        "aud": f"{server.origin}/token",
        "iat": NOW // 1000 - 60,
        "exp": NOW // 1000 + 600,
    }
    assert form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "audience": "x"}
    assert "authorization" not in asked.headers
    assert asked.headers["x-a"] == "b"
    assert (tokens.access_token, tokens.expires_in) == ("ya29.token-0123456789", 3599)
    assert tokens.scopes == ("a.read", "b.write")


async def test_it_acts_for_a_user_where_one_is_named(server: PracticeServer, egress: Egress) -> None:
    """The claim ``sub``; and a key without an id is named by none."""
    server.answers["/token"] = json_answer({"access_token": "t-0123456789"})
    fields = {"client_email": "robot@project.example", "private_key": RSA_PEM, "subject": "ann@project.example"}
    await issued(server, egress, fields=fields)
    assertion = server.asked[0].form["assertion"]
    token = jwt.decode(assertion, RSAKey.import_key(PUBLIC_PEM), algorithms=["RS256"])
    assert token.claims["sub"] == "ann@project.example"
    assert "kid" not in token.header


async def test_a_refresh_token_that_comes_along_is_not_kept(server: PracticeServer, egress: Egress) -> None:
    """The next token is asked for with the key again: one that is kept would be used, and end."""
    server.answers["/token"] = json_answer({"access_token": "t-0123456789", "refresh_token": "r-0123456789"})
    assert (await issued(server, egress, fields=FIELDS)).refresh_token is None


async def test_a_refusal_is_told_without_the_key_and_the_assertion(server: PracticeServer, egress: Egress) -> None:
    """``invalid_grant`` as the token endpoint says it; a description that repeats what was sent is left out."""  # K1

    def refuse(description: str) -> None:
        refusal = {"error": "invalid_grant", "error_description": description}
        server.answers["/token"] = json_answer(refusal, status=400)

    refuse("Invalid JWT Signature.")
    with pytest.raises(ProviderRefused, match="Invalid JWT Signature") as refused:
        await issued(server, egress, fields=FIELDS)
    assert refused.value.error == "invalid_grant"
    for secret in (server.asked[0].form["assertion"][:60], RSA_PEM.splitlines()[1]):
        refuse(f"what is {secret}?")
        with pytest.raises(ProviderRefused) as refused:
            await issued(server, egress, fields=FIELDS)
        assert "what is" not in refused.value.detail
