"""Broker tokens: opaque, hashed, a quarter of an hour long, good on every replica."""

import pytest
import redis

from broker.access.tokens import LIFETIME, BrokerToken
from broker.app.heart import Heart, build_heart
from broker.errors import OAuthError
from broker.models.access import CLIENT_SCOPES
from broker.models.ids import digest
from broker.providers import Registry
from broker.settings import Settings
from tests.access.stored import rewrite
from tests.world import FakeClock


async def test_a_token_has_the_scopes_asked_for_or_all(heart: Heart) -> None:
    """In the order that the documentation names them, each once."""
    client, _ = await heart.clients.create("app", scopes=["tokens:read", "connect", "admin"])
    assert (await heart.broker_tokens.issue(client, None)).scopes == ("connect", "tokens:read", "admin")
    assert (await heart.broker_tokens.issue(client, ["admin", "connect", "admin"])).scopes == ("connect", "admin")


@pytest.mark.parametrize("requested", [[], ["proxy"], ["connect", "proxy"], ["CONNECT"], [""]])
async def test_a_scope_that_the_client_lacks_is_refused(
    heart: Heart, raw_store: redis.Redis, requested: list[str]
) -> None:
    """All or nothing: no token with fewer scopes is issued in silence (RFC 6749 §5.2)."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    with pytest.raises(OAuthError) as refused:
        await heart.broker_tokens.issue(client, requested)
    assert refused.value.error == "invalid_scope"
    assert raw_store.keys("broker:bat:*") == []


async def test_the_scopes_that_the_client_lacks_are_named(heart: Heart) -> None:
    """A typing error is found at once; what does not look like a scope of ours is not repeated."""
    client, _ = await heart.clients.create("app", scopes=["connect"])

    async def refusal(*requested: str) -> str:
        with pytest.raises(OAuthError) as refused:
            await heart.broker_tokens.issue(client, requested)
        return refused.value.detail

    assert await refusal("connect", "tokens:reed") == "the client lacks scopes that were asked for: tokens:reed"
    for odd in ("x" * 31, 'say"so', "back\\slash", "ümlaut", "two words", "line\n"):
        assert await refusal(odd) == "the client lacks scopes that were asked for"
    assert (await refusal(*"gfedcba")).endswith(": a b c d e")


async def test_only_the_digest_of_a_token_is_stored_and_not_for_longer_than_it_lives(
    heart: Heart, raw_store: redis.Redis
) -> None:
    """Who reads the store can't use what stands there."""  # K1
    client, _ = await heart.clients.create("app", scopes=CLIENT_SCOPES)
    issued = await heart.broker_tokens.issue(client, None)
    [key] = raw_store.keys("broker:bat:*")
    assert key == f"broker:bat:{digest(issued.token)}".encode()
    assert issued.token.encode() not in (raw_store.get(key) or b"")
    assert 0 < int(raw_store.pttl(key)) <= LIFETIME * 1000
    assert await heart.broker_tokens.find(digest(digest(issued.token))) is None


async def test_a_token_outlives_the_process_that_issued_it(
    heart: Heart, settings: Settings, providers: Registry, clock: FakeClock
) -> None:
    """Another process on the same store accepts it."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    issued = await heart.broker_tokens.issue(client, None)
    restarted = build_heart(settings, providers, clock)
    try:
        assert (await restarted.authenticator.bearer(issued.token, "203.0.113.7")).client_id == client.client_id
    finally:
        await restarted.aclose(work_ends_within=0)


async def test_a_token_is_over_to_the_millisecond(heart: Heart, clock: FakeClock) -> None:
    """At its end it is unknown, even if the store should still have it."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    issued = await heart.broker_tokens.issue(client, None)
    clock.advance(seconds=LIFETIME - 0.001)
    assert await heart.broker_tokens.find(digest(issued.token))
    clock.advance(seconds=0.001)
    assert await heart.broker_tokens.find(digest(issued.token)) is None


async def test_a_token_is_revoked_by_its_owner_alone(heart: Heart) -> None:
    """Who found a token can't even end it: RFC 7009 §2.1."""
    owner, _ = await heart.clients.create("owner", scopes=["connect"])
    other, _ = await heart.clients.create("other", scopes=CLIENT_SCOPES)
    issued = await heart.broker_tokens.issue(owner, None)
    await heart.broker_tokens.revoke(other.client_id, issued.token)
    assert await heart.broker_tokens.find(digest(issued.token))
    await heart.broker_tokens.revoke(owner.client_id, issued.token)
    assert await heart.broker_tokens.find(digest(issued.token)) is None


def test_a_token_does_not_show_in_its_repr() -> None:
    """Tracebacks and logs print reprs."""  # K1
    assert "bat_" not in repr(BrokerToken("bat_secret", ("connect",)))


async def test_a_token_that_a_newer_replica_issued_is_accepted(heart: Heart, raw_store: redis.Redis) -> None:
    """What this version does not know of it is passed over."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    issued = await heart.broker_tokens.issue(client, None)
    rewrite(raw_store, f"broker:bat:{digest(issued.token)}", added_in_a_later_version=1)
    found = await heart.broker_tokens.find(digest(issued.token))
    assert found is not None
    assert (found.client_id, found.scopes) == (client.client_id, ("connect",))
