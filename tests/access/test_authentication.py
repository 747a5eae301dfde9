"""Authentication: who counts as whom, for how long that is believed, and how failures are limited."""

from types import SimpleNamespace

import httpx2
import pytest
import redis

from broker.access.clients import SECRETS_AT_MOST
from broker.access.tokens import LIFETIME
from broker.app.heart import Heart
from broker.errors import RateLimited, StoreUnavailable, Unauthenticated
from broker.models.ids import digest, new_id, new_secret
from broker.vault import names
from tests.access.stored import rewrite
from tests.downstream.watching import watching
from tests.journey import MakeClient
from tests.world import FakeClock

ADDRESS = "203.0.113.7"


def commands(raw_store: redis.Redis) -> int:
    """How often the store was asked since the last look."""
    counted = sum(entry["calls"] for name, entry in raw_store.info("commandstats").items() if "config" not in name)
    raw_store.config_resetstat()
    return int(counted)


async def test_a_token_in_use_costs_no_look_at_the_store(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """After the first request it is known; the second one asks nobody."""
    token = await (await make_client()).broker_token()
    await heart.authenticator.bearer(token, ADDRESS)
    commands(raw_store)
    for _ in range(5):
        caller = await heart.authenticator.bearer(token, ADDRESS)
    assert caller.tenant == "default"
    assert commands(raw_store) == 0


async def test_a_revoked_token_stops_working_within_seconds(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """Another replica revoked it: the next look, a moment later, ends it here."""  # S13
    app = await make_client()
    token = await app.broker_token()
    await heart.authenticator.bearer(token, ADDRESS)
    [key] = raw_store.keys("broker:bat:*")
    raw_store.delete(key)
    await heart.authenticator.revalidate()
    with pytest.raises(Unauthenticated):
        await heart.authenticator.bearer(token, ADDRESS)


async def test_a_secret_in_use_costs_no_look_at_the_store(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """As with a token; once it is idle for two looks, it is looked up again."""
    app = await make_client()
    await heart.authenticator.client(app.client_id, app.secret, ADDRESS)
    commands(raw_store)
    for _ in range(5):
        assert (await heart.authenticator.client(app.client_id, app.secret, ADDRESS)).name == "app"
    assert commands(raw_store) == 0
    for _ in range(2):
        await heart.authenticator.revalidate()
    commands(raw_store)
    await heart.authenticator.client(app.client_id, app.secret, ADDRESS)
    assert commands(raw_store) == 1


async def test_a_wrong_secret_goes_the_same_way_whether_or_not_its_client_is_remembered(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """As an unknown client does: the same commands, in the same order, and the failure counts as one."""  # S8
    remembered, stranger = await make_client("in use"), await make_client("not in use")
    ways = []
    for number, client_id in enumerate((new_id("cl"), stranger.client_id, remembered.client_id)):
        await heart.authenticator.client(remembered.client_id, remembered.secret, ADDRESS)
        network = f"198.51.100.{number}"

        with watching(raw_store) as watched:
            for secret in (new_secret("bcs"), stranger.secret + "x", digest(remembered.secret), ""):
                with pytest.raises(Unauthenticated):
                    await heart.authenticator.client(client_id, secret, network)
        counters = sorted(raw_store.keys(f"broker:count:failures*/{network}/*"))
        ways.append((watched.commands, [raw_store.get(key) for key in counters]))
    assert ways[0][0].count("GET") == 4
    assert ways[0][1] == [b"4"]
    assert ways[0] == ways[1] == ways[2]


CHANGES: dict[str, dict[str, object]] = {
    "its secret was replaced": {"secret_digests": [digest("another")]},
    "its secret has ended": {"secret_ends": {}},
    "it lost a scope": {"scopes": ["connect"]},
    "it lost a provider": {"providers": ["other"]},
    "it got an allow list": {"allow": ["GET /me"]},
    "its tokens were ended": {"tokens_from": 2**40},
    "it is nobody's": {"tenant": ""},
    "it is gone": {},
}
LOST = {"its secret was replaced", "its secret has ended", "it is nobody's", "it is gone"}


@pytest.mark.parametrize("looks", ["revalidated", "only the time passed"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_another_replica_did_to_a_client_counts_within_seconds(
    heart: Heart,
    make_client: MakeClient,
    raw_store: redis.Redis,
    clock: FakeClock,
    change: str,
    looks: str,
) -> None:
    """By the look that comes every moment; and should that fail to come, by the time a secret is believed."""  # S13
    app = await make_client(scopes=("connect", "tokens:read"))
    before = await heart.authenticator.client(app.client_id, app.secret, ADDRESS)
    ends = {"secret_ends": {digest(app.secret): 1}} if change == "its secret has ended" else {}
    if change == "it is gone":
        raw_store.delete(names.client(app.client_id))
    else:
        rewrite(raw_store, names.client(app.client_id), **{**CHANGES[change], **ends})
    if looks == "revalidated":
        await heart.authenticator.revalidate()
    else:
        clock.advance(seconds=5)
    if change in LOST:
        with pytest.raises(Unauthenticated):
            await heart.authenticator.client(app.client_id, app.secret, ADDRESS)
    else:
        after = await heart.authenticator.client(app.client_id, app.secret, ADDRESS)
        assert after != before
        assert after == await heart.clients.read(app.client_id)


async def test_what_this_process_does_to_a_client_counts_at_once(heart: Heart, make_client: MakeClient) -> None:
    """Nobody waits for a look at what was done here; and it concerns that client alone."""  # S13
    app, deleted, other = await make_client("app"), await make_client("deleted"), await make_client("other")
    clients = (app, deleted, other)
    for client in clients:
        await heart.authenticator.client(client.client_id, client.secret, ADDRESS)
    successor = (await heart.clients.rotate(app.client_id, overlap=0)).secret
    await heart.clients.delete(deleted.client_id)
    for client in (app, deleted):
        with pytest.raises(Unauthenticated):
            await heart.authenticator.client(client.client_id, client.secret, ADDRESS)
    known = await heart.authenticator.client(app.client_id, successor, ADDRESS)
    assert known.tokens_from > 0
    await heart.store.aclose()
    assert (await heart.authenticator.client(other.client_id, other.secret, ADDRESS)).name == "other"


async def test_a_secret_ends_when_it_was_said_to(
    heart: Heart, make_client: MakeClient, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """The predecessor works until then, to the millisecond; its successor before and after."""  # S13
    app, successor = await make_client(), new_secret("bcs")
    ends_at = clock() + 86_400_000
    digests = [digest(successor), digest(app.secret)]
    rewrite(
        raw_store, names.client(app.client_id), secret_digests=digests, secret_ends={digests[1]: ends_at, "gone": 1}
    )
    clock.now = ends_at - 1
    for secret in (app.secret, successor):
        assert (await heart.authenticator.client(app.client_id, secret, ADDRESS)).client_id == app.client_id
    clock.now = ends_at
    assert (await heart.authenticator.client(app.client_id, successor, ADDRESS)).client_id == app.client_id
    with pytest.raises(Unauthenticated):
        await heart.authenticator.client(app.client_id, app.secret, ADDRESS)


@pytest.mark.parametrize("ended", [0, 1])
@pytest.mark.parametrize("registered", [0, 1, 2, SECRETS_AT_MOST])
async def test_as_many_secrets_are_compared_whoever_is_asked_for(
    heart: Heart,
    make_client: MakeClient,
    raw_store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    registered: int,
    ended: int,
) -> None:
    """An unknown client, one without a secret, one whose secret ended, one with all there can be: same steps."""  # S8
    compared = []

    def count(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    app = await make_client()
    digests = [digest(new_secret("bcs")) for _ in range(registered)]
    ends = dict.fromkeys(digests[:ended], 1)
    rewrite(raw_store, names.client(app.client_id), secret_digests=digests, secret_ends=ends)
    monkeypatch.setattr("broker.access.authentication.hmac", SimpleNamespace(compare_digest=count))
    for client_id in (app.client_id, new_id("cl")):
        for secret in (new_secret("bcs"), "nobody's secret", ""):
            compared.clear()
            with pytest.raises(Unauthenticated):
                await heart.authenticator.client(client_id, secret, ADDRESS)
            assert len(compared) == SECRETS_AT_MOST


@pytest.mark.parametrize("looks", ["revalidated", "only the time passed"])
async def test_the_tokens_of_a_deleted_client_stop_working_within_seconds(
    heart: Heart, make_client: MakeClient, clock: FakeClock, looks: str
) -> None:
    """By the look that comes every moment; and should that fail to come, by the time a token is believed."""  # S13
    app = await make_client()
    token = await app.broker_token()
    await heart.authenticator.bearer(token, ADDRESS)
    await heart.clients.delete(app.client_id)
    if looks == "revalidated":
        await heart.authenticator.revalidate()
    else:
        clock.advance(seconds=5)
    with pytest.raises(Unauthenticated):
        await heart.authenticator.bearer(token, ADDRESS)


async def test_a_token_ends_after_a_quarter_of_an_hour(heart: Heart, make_client: MakeClient, clock: FakeClock) -> None:
    """Also one that is in use all the time."""
    token = await (await make_client()).broker_token()
    for _ in range(LIFETIME - 1):
        clock.advance(seconds=1)
        await heart.authenticator.bearer(token, ADDRESS)
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated):
        await heart.authenticator.bearer(token, ADDRESS)


async def test_tokens_no_longer_used_are_forgotten(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """What is remembered is bounded by what is used: an idle token is looked up again when it comes back."""
    token = await (await make_client()).broker_token()
    await heart.authenticator.bearer(token, ADDRESS)
    await heart.authenticator.revalidate()
    await heart.authenticator.revalidate()
    commands(raw_store)
    await heart.authenticator.revalidate()
    assert commands(raw_store) == 0
    await heart.authenticator.bearer(token, ADDRESS)
    assert commands(raw_store) == 2


async def test_a_store_that_is_gone_ends_belief_but_not_at_once(
    heart: Heart, make_client: MakeClient, clock: FakeClock
) -> None:
    """Within five seconds requests go on, then they are refused as 503, not as 401."""
    token = await (await make_client()).broker_token()
    await heart.authenticator.bearer(token, ADDRESS)
    await heart.store.aclose()
    await heart.authenticator.revalidate()
    clock.advance(seconds=4.9)
    await heart.authenticator.bearer(token, ADDRESS)
    clock.advance(seconds=0.1)
    with pytest.raises(StoreUnavailable):
        await heart.authenticator.bearer(token, ADDRESS)


async def test_a_token_has_no_scope_that_its_client_lost(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """What the client may do now counts, not what it could do when the token was issued."""
    app = await make_client(scopes=("connect", "admin"))
    token = await app.broker_token()
    rewrite(raw_store, names.client(app.client_id), scopes=["connect", "proxy"])
    assert (await heart.authenticator.bearer(token, ADDRESS)).scopes == {"connect"}


async def test_a_token_of_another_tenant_than_its_client_is_refused(
    heart: Heart, make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """Nor is one without a tenant taken for one of a default tenant."""  # S6
    app = await make_client()
    token = await app.broker_token()
    [key] = raw_store.keys("broker:bat:*")
    for tenant in ("other", "", None):
        rewrite(raw_store, key, tenant=tenant)
        with pytest.raises(Unauthenticated):
            await heart.authenticator.bearer(token, ADDRESS)
    rewrite(raw_store, key, tenant="default")
    assert (await heart.authenticator.bearer(token, ADDRESS)).client_id == app.client_id


async def test_failures_are_limited_by_address_and_never_below_a_hundred(heart: Heart, make_client: MakeClient) -> None:
    """A hundred mistakes a minute are 401; an attack is 429 with a time to wait; other addresses don't suffer."""  # S8
    app = await make_client()
    outcomes = []
    for _ in range(130):
        with pytest.raises((Unauthenticated, RateLimited)) as refused:
            await heart.authenticator.client(app.client_id, new_secret("bcs"), ADDRESS)
        outcomes.append(refused.value)
    assert {type(error) for error in outcomes[:100]} == {Unauthenticated}
    assert isinstance(outcomes[-1], RateLimited)
    assert 0 < (outcomes[-1].retry_after or 0) <= 60
    with pytest.raises(RateLimited):
        await heart.authenticator.bearer(new_secret("bat"), ADDRESS)
    with pytest.raises(Unauthenticated):
        await heart.authenticator.client(app.client_id, "wrong", "198.51.100.1")


async def test_who_knows_the_secret_is_let_in_while_others_are_limited(heart: Heart, make_client: MakeClient) -> None:
    """Behind one address a flood of failures locks nobody out."""  # S8
    app = await make_client()
    token = await app.broker_token()
    for _ in range(130):
        with pytest.raises((Unauthenticated, RateLimited)):
            await heart.authenticator.client(new_id("cl"), app.secret, ADDRESS)
    assert (await heart.authenticator.client(app.client_id, app.secret, ADDRESS)).client_id == app.client_id
    assert (await heart.authenticator.bearer(token, ADDRESS)).client_id == app.client_id


async def test_the_limit_ends_by_itself(heart: Heart, raw_store: redis.Redis) -> None:
    """The counter lives for a minute from its first failure, and more failures don't prolong it."""  # S8
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await heart.authenticator.client(new_id("cl"), "x", ADDRESS)
    [key] = raw_store.keys("broker:count:failures/*")
    assert raw_store.get(key) == b"3"
    assert 0 < int(raw_store.pttl(key)) <= 60_000


async def test_failures_without_a_store_are_not_taken_for_success(heart: Heart, http: httpx2.AsyncClient) -> None:
    """Who can't be checked is not let in."""  # S14
    await heart.store.aclose()
    answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(new_id("cl"), "x"))
    assert answer.status_code == 503
    assert "access_token" not in answer.text
