"""The authorization code grant: where the browser goes, and how the code is redeemed."""

import base64
import hashlib
from urllib.parse import parse_qsl, urlsplit

import pytest

from broker.errors import NotSent, ProviderError
from broker.upstream.authorization_code import authorization_url, challenge, exchange_code, new_verifier
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.metadata import Metadata
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider, provider_at
from tests.upstream.practice_server import PracticeServer, json_answer

ORIGIN = "https://provider.test"
REDIRECT = "https://broker.test/callback/practice"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def query_of(metadata: Metadata | None = None, scopes: tuple[str, ...] = ("a", "b"), **entry: object) -> dict[str, str]:
    """The parameters of the address that the browser is sent to, none of which stands twice."""
    provider = provider_at(ORIGIN, **entry)
    address = authorization_url(
        provider,
        resolve(provider, {}, metadata),
        redirect_uri=REDIRECT,
        state="the-state",
        scopes=scopes,
        verifier=VERIFIER,
    )
    pairs = parse_qsl(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)
    assert address.startswith(f"{ORIGIN}/authorize?")
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636 appendix B."""
    assert challenge(VERIFIER) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("verifier", ["", "x" * 42, "x" * 129, "x" * 43 + "\n", "ä" * 43, "=" * 43])
def test_a_verifier_has_its_shape(verifier: str) -> None:
    """RFC 7636 §4.1: 43 to 128 unreserved characters."""
    with pytest.raises(ValueError, match="43 to 128"):
        challenge(verifier)


def test_verifiers_are_fresh() -> None:
    """Each is of the right shape, and none comes twice."""
    verifiers = {new_verifier() for _ in range(50)}
    assert len(verifiers) == 50
    for verifier in verifiers:
        expected = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        assert challenge(verifier) == expected


def test_where_the_browser_goes() -> None:
    """RFC 6749 §4.1.1 and RFC 7636 §4.3; the verifier itself is not in it."""
    assert query_of() == {
        "response_type": "code",
        "client_id": "client-one",
        "redirect_uri": REDIRECT,
        "state": "the-state",
        "scope": "a b",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
    }


def test_what_an_entry_changes() -> None:
    """Separator, name of the scope parameter, further parameters, and a query of the endpoint's own."""
    query = query_of(
        scope_param="user_scope",
        scope_separator=",",
        authorization_params={"scope": "fixed", "prompt": "consent", "uri": "x"},
        authorization_endpoint=f"{ORIGIN}/authorize?team=one",
    )
    assert (query["user_scope"], query["scope"]) == ("a,b", "fixed")
    assert (query["prompt"], query["uri"], query["team"]) == ("consent", "x", "one")


def test_no_scopes_and_no_challenge() -> None:
    """Nothing is sent empty; a provider that breaks on PKCE gets none."""
    query = query_of(scopes=(), code_challenge_method="none")
    assert query.keys() == {"response_type", "client_id", "redirect_uri", "state"}


def test_metadata_without_s256_is_refused() -> None:
    """A server that lists its methods and can't do S256 is not used; one that says nothing is."""
    lacking = Metadata(issuer=ORIGIN, code_challenge_methods_supported=("plain",))
    with pytest.raises(ProviderError, match="S256"):
        query_of(lacking)
    assert "code_challenge" not in query_of(lacking, code_challenge_method="none")
    assert "code_challenge" in query_of(Metadata(issuer=ORIGIN, code_challenge_methods_supported=("plain", "S256")))


def test_there_must_be_somewhere_to_go() -> None:
    """No authorization endpoint, or no client id: no address."""
    with pytest.raises(ProviderError, match="authorization endpoint"):
        query_of(authorization_endpoint=None, grant_types=["client_credentials"])
    with pytest.raises(NotSent, match="client_id"):
        query_of(client_id=None)


@pytest.mark.parametrize(("method", "sent"), [("S256", {"code_verifier": VERIFIER}), ("none", {})])
async def test_the_code_is_redeemed_with_its_verifier(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, method: str, sent: dict[str, str]
) -> None:
    """RFC 6749 §4.1.3; where no challenge was sent, no verifier is."""
    server.answers["/token"] = json_answer({"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 60})
    provider = make_provider(code_challenge_method=method)
    tokens = await exchange_code(
        egress,
        lambda: NOW,
        provider,
        resolve(provider, {}, None),
        code="the-code",
        verifier=VERIFIER,
        redirect_uri=REDIRECT,
        scopes=["a"],
    )
    assert tokens == TokenSet("at-1", "rt-1", 60, ("a",))
    (asked,) = server.asked
    assert asked.form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": REDIRECT,
        **sent,
    }
