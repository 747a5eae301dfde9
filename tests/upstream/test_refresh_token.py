"""The refresh token grant."""

from collections.abc import Sequence

import pytest

from broker.errors import ProviderBusy, ProviderRefused
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.refresh_token import refresh
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import PracticeServer, json_answer, raw_answer

SENT = {"grant_type": "refresh_token", "refresh_token": "the-refresh-token"}


async def refresh_at(
    egress: Egress, make_provider: MakeProvider, secrets: Sequence[str] = (), **entry: object
) -> TokenSet:
    """One refresh of a connection that holds the scopes ``a b``."""
    provider = make_provider(**entry)
    endpoints = resolve(provider, {}, None)
    return await refresh(
        egress,
        lambda: NOW,
        provider,
        endpoints,
        refresh_token="the-refresh-token",
        scopes=["a", "b"],
        secrets=secrets,
    )


async def test_a_refresh(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """RFC 6749 §6: the token, once, and no scope; a silent answer grants what was held and keeps the token."""  # P5
    server.answers["/token"] = json_answer({"access_token": "at-2", "expires_in": 60})
    assert await refresh_at(egress, make_provider) == TokenSet("at-2", None, 60, ("a", "b"))
    assert [asked.form for asked in server.asked] == [SENT]


async def test_what_an_entry_adds(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """Parameters for all token requests and for refreshes; the scopes held, where the provider wants them."""
    server.answers["/token"] = json_answer({"access_token": "at-2"})
    await refresh_at(
        egress,
        make_provider,
        token_params={"audience": "all"},
        refresh_params={"scope": "{scope}", "mode": "offline"},
    )
    (asked,) = server.asked
    assert asked.form == {**SENT, "audience": "all", "scope": "a b", "mode": "offline"}


async def test_the_answer_to_a_refresh_is_read_as_one(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """Read as the answer to a code it would hold no token, and the refresh token would be lost with it."""  # P5
    server.answers["/token"] = json_answer({"access_token": "at-2", "refresh_token": "rt-2"})
    where = {"access_token": "/user/token", "on_refresh": {"access_token": "/access_token"}}
    refreshed = await refresh_at(egress, make_provider, token_response=where)
    assert (refreshed.access_token, refreshed.refresh_token) == ("at-2", "rt-2")


@pytest.mark.parametrize("status", [200, 400, 401, 403])
async def test_a_dead_grant_is_named(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, status: int
) -> None:
    """``invalid_grant`` counts under every status that providers use for it."""  # P7
    server.answers["/token"] = json_answer({"error": "invalid_grant"}, status)
    with pytest.raises(ProviderRefused) as caught:
        await refresh_at(egress, make_provider)
    assert caught.value.error == "invalid_grant"
    assert len(server.asked) == 1


async def test_a_busy_provider_is_not_asked_again(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """A 429 is handed on with its patience; nothing here retries."""  # P8
    server.answers["/token"] = raw_answer(429, b"", {"Retry-After": "30"})
    with pytest.raises(ProviderBusy) as caught:
        await refresh_at(egress, make_provider)
    assert caught.value.retry_after == 30
    assert len(server.asked) == 1


@pytest.mark.parametrize("secret", ["the-refresh-token", "the-access-token", "client-secret-0123456789"])
async def test_a_refusal_repeats_no_secret(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, secret: str
) -> None:
    """Neither what was sent, nor the access token, which the provider knows although it wasn't."""  # K1
    server.answers["/token"] = json_answer({"error": "slow_down", "error_description": f"not with {secret}"}, 400)
    with pytest.raises(ProviderRefused) as caught:
        await refresh_at(egress, make_provider, secrets=["the-access-token"])
    assert caught.value.detail == "the provider refused: slow_down"
