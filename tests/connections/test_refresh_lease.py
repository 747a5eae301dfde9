"""Several replicas: the lease lets one refresh, the intent remembers what was begun, the generation fences the rest."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx2
import pytest
import redis
from pydantic import SecretStr

from broker.app.heart import Heart, build_heart
from broker.errors import AddressRefused, NotSent, OutcomeUnknown, UnusableToken
from broker.models.connection import Connection, Credential
from broker.models.event import Event
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.leases import Lease, Leases
from broker.vault.redis.embedded import EmbeddedStore
from tests.connections.practice import behave, hold_answers, let_answers_go, refreshes
from tests.vault.faulty_proxy import FaultyProxy
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
RENEWALS = 4
"""Within a lease's time."""


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def stored(app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, heart: Heart) -> Connection:
    """A connection at a provider that ends the grant when a refresh token comes twice."""
    behave(sandbox, rotation="revoke_on_reuse")
    connection = await app.connect(Person(http))
    found = await heart.records.read(connection["id"])
    assert found is not None
    return found


@pytest.fixture
async def replica(heart: Heart, settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A second process of the same broker."""
    replica = build_heart(settings, providers, clock)
    yield replica
    await replica.aclose(work_ends_within=5)


async def commit(heart: Heart, before: Connection, credential: Credential, lease: Lease | None = None) -> bool:
    """What another replica stores."""
    after = replace(before, generation=before.generation + 1)
    event = Event("credential.refreshed", before.tenant, heart.clock(), before.id)
    return (await heart.records.replace(before, after, credential, event, lease=lease)).stored


def count_looks(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects what each attempt at taking a lease was answered."""
    answers: list[str] = []
    take = heart.leases.take

    async def counted(connection: Connection, owner: str) -> Lease | str:
        answer = await take(connection, owner)
        answers.append("mine" if isinstance(answer, Lease) else answer)
        return answer

    monkeypatch.setattr(heart.leases, "take", counted)
    return answers


async def test_replicas_that_meet_refresh_once(
    stored: Connection, heart: Heart, replica: Heart, sandbox: httpx2.Client
) -> None:
    """Two processes at the same moment: one asks the provider, the other one waits for it."""  # F5
    behave(sandbox, token_delay_ms=100)
    await asyncio.gather(*(each.refresher.refresh(stored.id, 1) for each in (heart, replica) for _ in range(10)))
    assert refreshes(sandbox) == (1, 0)


async def test_who_finds_the_lease_taken_waits_for_the_holders_token(
    app: ServiceClient,
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider is not asked a second time; when the holder has stored its token, that one is served."""  # F5
    lease = await replica.leases.take(stored, "lease_other")
    assert isinstance(lease, Lease)
    looks = count_looks(heart, monkeypatch)
    caller = asyncio.create_task(app.fetch(stored.id, stale_generation=1))
    await eventually(lambda: looks.count("busy") >= 3)
    assert await commit(replica, stored, Credential("from the holder", "next"), lease)
    answer = await caller
    assert (answer.status_code, answer.json()["access_token"]) == (200, "from the holder")
    assert "mine" not in looks
    assert refreshes(sandbox) == (0, 0)


async def test_a_lease_whose_holder_died_is_taken_over(
    app: ServiceClient,
    stored: Connection,
    heart: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
) -> None:
    """Once it has run out, whoever waits refreshes: here the token is dead, so there is nothing left to lose."""  # F1
    assert isinstance(await heart.leases.take(stored, "lease_dead"), Lease)
    clock.advance(seconds=3601)
    looks = count_looks(heart, monkeypatch)
    caller = asyncio.create_task(ServiceClient(app.http, app.client_id, app.secret).fetch(stored.id))
    await eventually(lambda: looks.count("busy") >= 2)
    assert refreshes(sandbox) == (0, 0)
    raw_store.delete(names.lease(stored.id))  # as its time does
    assert (await caller).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_a_stale_writer_neither_overwrites_nor_releases(
    app: ServiceClient,
    stored: Connection,
    heart: Heart,
    replica: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
) -> None:
    """The provider answers after the lease ran out and another replica has stored a token: that one stays."""  # F6
    hold_answers(sandbox)
    caller = asyncio.create_task(app.fetch(stored.id, stale_generation=1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    raw_store.delete(names.lease(stored.id))
    assert await commit(replica, stored, Credential("the newer one", "next"))
    second = await replica.leases.take(replace(stored, generation=2), "lease_other")
    assert isinstance(second, Lease)

    let_answers_go(sandbox)
    assert (await caller).json()["access_token"] == "the newer one"
    assert await heart.refresher.drain(60) == 0
    assert raw_store.get(names.lease(stored.id)) == b"lease_other"
    found = await heart.records.read_with_credential(stored.id)
    assert found is not None
    assert (found[0].generation, found[1]) == (2, Credential("the newer one", "next"))


def lose_intent(raw_store: redis.Redis, connection: Connection, started: int = 0) -> None:
    """As if a replica had been killed between its request and its commit."""
    raw_store.hset(names.record(connection.id), "i", json.dumps({"owner": "lease_dead", "started": started}))


async def test_an_unknown_outcome_is_not_gambled_with_while_the_token_lives(
    app: ServiceClient, stored: Connection, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Where a second use would end the grant, the living token is served and the provider is not asked."""  # F1, P10
    lose_intent(raw_store, stored)
    for _ in range(2):
        assert (await app.fetch(stored.id, min_ttl=7200)).json()["generation"] == 1
        refused = await app.fetch(stored.id, stale_generation=1)
        assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
    assert refreshes(sandbox) == (0, 0)
    assert not raw_store.exists(names.lease(stored.id))


async def test_a_dead_token_leaves_nothing_to_lose(
    app: ServiceClient, stored: Connection, raw_store: redis.Redis, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """After its end the refresh token is tried although its first use may have counted; here it works."""  # F1, P10
    lose_intent(raw_store, stored)
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    assert (await app.fetch(stored.id)).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_a_refusal_after_an_unknown_outcome_is_told_apart(
    stored: Connection,
    heart: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    clock: FakeClock,
    app: ServiceClient,
) -> None:
    """If it doesn't, the person has to return, and the reason doesn't claim that they revoked anything."""  # F1
    lose_intent(raw_store, stored)
    behave(sandbox, revoke_grants=True)
    clock.advance(seconds=3601)
    app = ServiceClient(app.http, app.client_id, app.secret)
    assert (await app.fetch(stored.id)).status_code == 409
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.health.last_error is not None
    assert found.health.last_error.code == "refresh_outcome_unknown"


async def test_a_failure_in_between_does_not_settle_an_older_intent(
    stored: Connection, heart: Heart, raw_store: redis.Redis, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later request that never left says nothing of the earlier one, whose intent stays."""  # F1
    lose_intent(raw_store, stored)
    clock.advance(seconds=3601)

    async def unreachable(*_: object, **__: object) -> None:
        raise NotSent("the provider can't be reached")

    monkeypatch.setattr(heart.upstream, "refresh", unreachable)
    with pytest.raises(NotSent):
        await heart.refresher.refresh(stored.id, 1)
    assert raw_store.hexists(names.record(stored.id), "i")


async def without_end(raw_store: redis.Redis, connection: Connection) -> None:
    """As if the provider had named no end of the access token."""
    raw_store.hset(names.record(connection.id), "x", "")


async def test_an_unknown_outcome_does_not_keep_a_dead_token_without_end(
    app: ServiceClient, stored: Connection, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Waiting for its end would be waiting for ever: once the provider refuses it, there is nothing to lose."""  # F1
    await without_end(raw_store, stored)
    lose_intent(raw_store, stored)
    assert (await app.fetch(stored.id, stale_generation=1)).status_code == 503
    assert refreshes(sandbox) == (0, 0)
    behave(sandbox, expire_access_tokens=True)
    assert (await app.fetch(stored.id, stale_generation=1)).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_an_unanswered_whoami_leaves_no_intent(
    app: ServiceClient,
    stored: Connection,
    heart: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a refresh token nothing can be spent, so one bad moment of the provider has no consequences."""  # P2
    await without_end(raw_store, stored)
    assert await commit(heart, stored, Credential("only an access token"))

    async def unanswered(*_: object, **__: object) -> None:
        raise OutcomeUnknown("sent but not answered")

    with monkeypatch.context() as patched:
        patched.setattr(heart.upstream, "identify", unanswered)
        assert (await app.fetch(stored.id, stale_generation=2)).status_code == 503
    assert not raw_store.hexists(names.record(stored.id), "i")
    assert (await app.fetch(stored.id, stale_generation=2)).json()["code"] == "reauth_required"


@pytest.mark.parametrize(("ago", "sent"), [(30, (1, 0)), (90, (0, 0))])
async def test_within_its_grace_a_used_refresh_token_is_sent_again(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    raw_store: redis.Redis,
    sandbox: httpx2.Client,
    ago: int,
    sent: tuple[int, int],
) -> None:
    """Later, nobody knows whether the provider would take it for theft."""  # P10
    connection = await app.connect(Person(http), provider="practice-grace")
    found = await heart.records.read(connection["id"])
    assert found is not None
    lose_intent(raw_store, found, started=heart.clock() - ago * 1000)
    await app.fetch(found.id, stale_generation=1)
    assert refreshes(sandbox) == sent


async def test_a_lease_is_renewed_while_the_provider_thinks(
    stored: Connection,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A provider slower than the lease is asked once all the same."""  # F6
    renewals = 0

    def count_renewals(leases: Leases) -> None:
        leases.milliseconds = 3000
        renew = leases.renew

        async def counted(lease: Lease) -> bool:
            nonlocal renewals
            renewed = await renew(lease)
            renewals += renewed
            return renewed

        monkeypatch.setattr(leases, "renew", counted)

    for each in (heart, replica):
        count_renewals(each.leases)
    hold_answers(sandbox)
    clock.advance(seconds=3601)
    refreshing = asyncio.gather(*(each.refresher.refresh(stored.id, 1) for each in (heart, replica)))
    await eventually(lambda: renewals > RENEWALS)  # so the first lease alone would have run out
    let_answers_go(sandbox)
    await refreshing
    assert refreshes(sandbox) == (1, 0)


async def test_where_a_second_use_is_harmless_it_is_tried_at_once(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """A provider that doesn't rotate loses nothing by a repeat, so no caller waits for the old token's end."""  # P10
    connection = await app.connect(Person(http), provider="practice-graceful")
    found = await heart.records.read(connection["id"])
    assert found is not None
    lose_intent(raw_store, found)
    assert (await app.fetch(found.id, stale_generation=1)).json()["generation"] == 2
    assert refreshes(sandbox) == (1, 0)


async def test_a_request_without_an_answer_leaves_the_intent(
    app: ServiceClient, stored: Connection, heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent and never answered is neither failure nor success: active, and the intent stands."""  # P2

    async def unanswered(*_: object, **__: object) -> None:
        raise OutcomeUnknown("sent but not answered")

    monkeypatch.setattr(heart.upstream, "refresh", unanswered)
    assert (await app.fetch(stored.id, stale_generation=1)).status_code == 503
    assert raw_store.hexists(names.record(stored.id), "i")
    assert not raw_store.exists(names.lease(stored.id))
    found = await heart.records.read(stored.id)
    assert found is not None
    assert found.status == "active"
    assert (await app.fetch(stored.id)).json()["generation"] == 1


async def test_a_lost_answer_to_the_lease_is_no_lost_refresh(
    stored: Connection,
    settings: Settings,
    providers: Registry,
    clock: FakeClock,
    store_server: EmbeddedStore,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was sent yet, so the lease is asked for again, and the provider is asked once."""  # R3
    async with FaultyProxy(store_server.url.removeprefix("unix://")) as proxy:
        url = SecretStr(f"redis://{proxy.address}")
        heart = build_heart(settings.model_copy(update={"redis_url": url}), providers, clock)
        take = heart.leases.take

        async def unheard(connection: Connection, owner: str) -> Lease | str:
            proxy.drop_next_answer()
            monkeypatch.setattr(heart.leases, "take", take)
            return await take(connection, owner)

        monkeypatch.setattr(heart.leases, "take", unheard)
        await heart.refresher.refresh(stored.id, 1)
        await heart.aclose(work_ends_within=5)
    assert refreshes(sandbox) == (1, 0)


async def test_an_address_that_is_refused_holds_nobody_up(
    app: ServiceClient, stored: Connection, heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the provider can't be asked whether the token lives, it may; the lease is free again at once."""  # F1
    lose_intent(raw_store, stored)

    async def refused(*_: object, **__: object) -> None:
        raise AddressRefused("10.0.0.1 is not a public address")

    monkeypatch.setattr(heart.upstream, "identify", refused)
    assert (await app.fetch(stored.id, stale_generation=1)).status_code == 503
    assert not raw_store.exists(names.lease(stored.id))


async def test_a_mistake_of_ours_holds_nobody_up(
    stored: Connection, heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever cuts a refresh short, the next one need not wait for the lease to run out."""  # F1

    async def mistaken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(heart.upstream, "refresh", mistaken)
    with pytest.raises(ZeroDivisionError):
        await heart.refresher.refresh(stored.id, 1)
    assert not raw_store.exists(names.lease(stored.id))


async def test_a_token_that_can_not_be_served_has_spent_the_refresh_token(
    app: ServiceClient, stored: Connection, heart: Heart, raw_store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has rotated, so what was sent is not sent again while the old access token lives."""  # P10

    async def sender_constrained(*_: object, **__: object) -> None:
        raise UnusableToken("sender-constrained")

    monkeypatch.setattr(heart.upstream, "refresh", sender_constrained)
    assert (await app.fetch(stored.id, stale_generation=1)).status_code == 502
    assert raw_store.hexists(names.record(stored.id), "i")
    assert (await app.fetch(stored.id)).status_code == 200


async def test_more_life_than_there_is_can_only_be_waited_for(
    app: ServiceClient, stored: Connection, heart: Heart, sandbox: httpx2.Client
) -> None:
    """Without a refresh token a living token is served as it is; nobody is asked and nothing is called degraded."""
    assert await commit(heart, stored, Credential((await app.fetch(stored.id)).json()["access_token"]))
    asked = sandbox.get("/counters").json()["whoami"]
    for _ in range(3):
        assert (await app.fetch(stored.id, min_ttl=7200)).status_code == 200
    assert sandbox.get("/counters").json()["whoami"] == asked
    shown = (await app.call("GET", f"/v1/connections/{stored.id}")).json()
    assert shown["health"]["consecutive_failures"] == 0
