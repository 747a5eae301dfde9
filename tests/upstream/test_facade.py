"""The heart's view: each call from entry and parameters to a result, with discovery in between."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest

from broker.errors import AddressRefused, InvalidRequest, NotSent
from broker.models.account import Account
from broker.models.connection import Credential, Whoami
from broker.upstream.authorization_code import challenge, new_verifier
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import PracticeServer, json_answer, raw_answer

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """All calls, with nothing private allowed."""
    async with Upstream(Egress(), lambda: NOW) as calls:
        yield calls


async def test_a_life_by_discovery(server: PracticeServer, upstream: Upstream, make_provider: MakeProvider) -> None:
    """From one issuer: authorization, exchange, refresh, whoami, revocation; the metadata is fetched once."""
    server.answers |= {
        METADATA: json_answer(
            {
                "issuer": server.origin,
                "authorization_endpoint": f"{server.origin}/authorize",
                "token_endpoint": f"{server.origin}/token",
                "revocation_endpoint": f"{server.origin}/revoke",
                "userinfo_endpoint": f"{server.origin}/userinfo",
                "code_challenge_methods_supported": ["S256"],
            }
        ),
        "/token": json_answer({"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 60, "scope": "a"}),
        "/userinfo": json_answer({"sub": "u-1", "name": "Ada"}),
        "/revoke": raw_answer(200),
    }
    provider = make_provider(issuer=server.origin, authorization_endpoint=None, token_endpoint=None)
    verifier = new_verifier()
    redirect = "https://broker.test/callback/practice"
    address = await upstream.authorization_url(
        provider, {}, redirect_uri=redirect, state="s", scopes=["a"], verifier=verifier
    )
    assert challenge(verifier) in urlsplit(address).query
    tokens = await upstream.exchange_code(
        provider, {}, code="c", verifier=verifier, redirect_uri=redirect, scopes=["a"]
    )
    assert tokens == TokenSet("at-1", "rt-1", 60, ("a",))
    assert await upstream.refresh(provider, {}, refresh_token="rt-1", scopes=["a"]) == tokens
    assert await upstream.issue(provider, {}, credential=Credential(""), scopes=["a"]) == tokens
    found = await upstream.identify(
        provider, {}, credential=Credential("at-1"), credential_type="oauth2", scopes=["a", "openid"]
    )
    assert found == Whoami(Account("u-1", "Ada"))
    outcome = await upstream.revoke(provider, {}, access_token="at-1", refresh_token="rt-1")
    assert outcome.outcome == "revoked"
    assert [urlsplit(asked.target).path for asked in server.asked] == [
        METADATA,
        "/token",
        "/token",
        "/token",
        "/userinfo",
        "/revoke",
    ]


async def test_an_entry_that_says_it_all_needs_no_discovery(
    server: PracticeServer, upstream: Upstream, make_provider: MakeProvider
) -> None:
    """An issuer beside written endpoints is only a name."""
    endpoints = await upstream.endpoints(make_provider(issuer=server.origin), {})
    assert endpoints.issuer == server.origin
    assert server.asked == []


async def test_parameters_are_checked_before_anything_is_sent(
    server: PracticeServer, upstream: Upstream, make_provider: MakeProvider
) -> None:
    """A parameter that the entry doesn't know stops every call."""
    provider = make_provider()
    with pytest.raises(InvalidRequest):
        await upstream.refresh(provider, {"colour": "red"}, refresh_token="rt-1", scopes=[])
    assert server.asked == []


async def test_a_users_host_is_guarded_unless_allowed(server: PracticeServer, make_provider: MakeProvider) -> None:
    """The same connection is refused by default and served where the operator lets it through."""  # E1
    server.answers["/token"] = json_answer({"access_token": "at-1"})
    provider = make_provider(
        token_endpoint=f"http://127.0.0.{{n}}:{server.port}/token",
        parameters={"n": {"label": "Number"}},
    )
    async with Upstream(Egress(), lambda: NOW) as guarded:
        with pytest.raises(AddressRefused):
            await guarded.refresh(provider, {"n": "1"}, refresh_token="rt-1", scopes=[])
        assert server.asked == []
    async with Upstream(Egress(allow=[ip_network("127.0.0.1/32")]), lambda: NOW) as allowed:
        await allowed.refresh(provider, {"n": "1"}, refresh_token="rt-1", scopes=[])
        assert len(server.asked) == 1


async def test_a_refresh_that_fails_in_discovery_was_not_sent(
    server: PracticeServer, upstream: Upstream, make_provider: MakeProvider
) -> None:
    """However the metadata fails, the refresh token was not touched."""
    server.answers[METADATA] = b""
    provider = make_provider(issuer=server.origin, token_endpoint=None)
    with pytest.raises(NotSent):
        await upstream.refresh(provider, {}, refresh_token="rt-1", scopes=[])
    assert [asked.target for asked in server.asked] == [METADATA]
    outcome = await upstream.revoke(provider, {}, access_token="at-1", refresh_token=None)
    assert outcome.outcome == "pending"


@pytest.mark.parametrize("found", [{"issuer": "https://another.test"}, {}, None])
async def test_a_revocation_whose_endpoint_is_not_found_may_work_later(
    server: PracticeServer, upstream: Upstream, make_provider: MakeProvider, found: dict[str, object] | None
) -> None:
    """Metadata of another issuer, or none, is no answer about the token: the entry may be mended."""
    server.answers[METADATA] = raw_answer(404) if found is None else json_answer(found)
    provider = make_provider(issuer=server.origin, token_endpoint=None)
    outcome = await upstream.revoke(provider, {}, access_token="at-1", refresh_token=None)
    assert (outcome.outcome, outcome.status) == ("pending", None)
    assert "metadata" in outcome.detail
