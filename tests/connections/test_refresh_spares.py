"""A refused refresh token is not the end: whatever else the grant holds is tried, and what comes late is kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.connections import attempt
from broker.errors import OutcomeUnknown, ProviderRefused, ReauthRequired, StoreUnavailable
from broker.models.connection import Connection, Credential, Status
from broker.models.event import Event
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.leases import Lease
from tests.connections.practice import behave, hold_answers, late_answers, let_answers_go, refreshes, revocations
from tests.waiting import eventually
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


@pytest.fixture
async def replica(heart: Heart, settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A second process of the same broker."""
    replica = build_heart(settings, providers, clock)
    yield replica
    await replica.aclose(work_ends_within=5)


async def connected(app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, **body: Any) -> Connection:
    """A new connection."""
    made = await app.connect(Person(http), **body)
    found = await heart.records.read(made["id"])
    assert found is not None
    return found


async def commit(heart: Heart, before: Connection, credential: Credential) -> Connection:
    """What another replica stores meanwhile."""
    after = replace(before, generation=before.generation + 1)
    event = Event("credential.refreshed", before.tenant, heart.clock(), before.id)
    assert (await heart.records.replace(before, after, credential, event)).stored
    return after


async def held(heart: Heart, connection_id: str) -> tuple[Connection, Credential]:
    """The connection and its credential now."""
    found = await heart.records.read_with_credential(connection_id)
    assert found is not None
    assert found[1] is not None
    return found[0], found[1]


async def test_the_previous_token_is_tried_before_the_connection_is_given_up(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client
) -> None:
    """A provider forgot the token it issued last, and still takes the one before: the person notices nothing."""  # P10
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart, provider="practice-strict")
    _, credential = await held(heart, connection.id)
    forgotten = Credential(credential.access_token, "forgotten-by-the-provider", credential.refresh_token)
    await commit(heart, connection, forgotten)
    await heart.refresher.refresh(connection.id, 2)
    current, renewed = await held(heart, connection.id)
    assert (current.status, current.generation) == (Status.ACTIVE, 3)
    assert renewed.previous_refresh_token == credential.refresh_token
    assert refreshes(sandbox) == (1, 1)


async def test_a_parked_token_is_promoted_before_the_connection_is_given_up(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client
) -> None:
    """The token in the record is refused; the one that came too late works, and nobody has to authorize again."""  # P7
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart)
    _, credential = await held(heart, connection.id)
    await heart.parked.park(connection, credential.refresh_token or "")
    later = await commit(heart, connection, Credential("access", "refused", "refused-too"))
    # The commit cleared it, as one that worked does; this one did not.
    await heart.parked.park(later, credential.refresh_token or "")
    await heart.refresher.refresh(connection.id, 2)
    current, _ = await held(heart, connection.id)
    assert (current.status, current.generation) == (Status.ACTIVE, 3)
    assert refreshes(sandbox) == (1, 1)


async def test_a_spare_that_can_not_be_judged_now_leaves_everything_open(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first token is refused, the spare one meets an outage: temporary, active, and the spare is still there."""
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart, provider="practice-strict")
    _, credential = await held(heart, connection.id)
    await commit(heart, connection, Credential(credential.access_token, "refused", credential.refresh_token))
    sent: list[str] = []

    async def refresh(*_: object, refresh_token: str, **__: object) -> None:
        sent.append(refresh_token)
        if refresh_token == "refused":
            raise ProviderRefused("invalid_grant", "no", http_status=400)
        raise OutcomeUnknown("silence")

    with monkeypatch.context() as patched:
        patched.setattr(heart.upstream, "refresh", refresh)
        with pytest.raises(OutcomeUnknown):
            await heart.refresher.refresh(connection.id, 2)
    assert sent == ["refused", credential.refresh_token]
    current, kept = await held(heart, connection.id)
    assert (current.status, kept.previous_refresh_token) == (Status.ACTIVE, credential.refresh_token)
    assert current.health.last_error is not None
    assert current.health.last_error.code == "provider_unavailable"


async def test_a_mistaken_refusal_does_not_become_the_end_of_the_grant(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Where a second use ends the grant, the predecessor stays unsent while the access token lives somewhere."""  # P10
    behave(sandbox, rotation="revoke_on_reuse")
    connection = await connected(app, http, heart)
    await heart.refresher.refresh(connection.id, 1)
    behave(sandbox, token_fault="invalid_grant", faults_left=1)
    with pytest.raises(ReauthRequired):
        await heart.refresher.refresh(connection.id, 2)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0
    _, credential = await held(heart, connection.id)
    bearer = {"Authorization": f"Bearer {credential.access_token}"}
    assert sandbox.get("/whoami", headers=bearer).status_code == 200


async def test_who_comes_too_late_parks_what_it_obtained(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client
) -> None:
    """Another replica's commit was faster: the record keeps that one, and this one is beside it, within the grant."""
    # F6
    behave(sandbox, rotation="grace")
    connection = await connected(app, http, heart, provider="practice-grace")
    hold_answers(sandbox)
    caller = asyncio.create_task(heart.refresher.refresh(connection.id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    later = await commit(heart, connection, Credential("faster", "of-the-faster-one"))
    let_answers_go(sandbox)
    await caller
    _, credential = await held(heart, connection.id)
    assert credential == Credential("faster", "of-the-faster-one")
    (candidate,) = (await heart.parked.candidates(later)).refresh_tokens
    # And it works: the record's own token is none that the provider knows.
    await heart.refresher.refresh(connection.id, 2)
    _, renewed = await held(heart, connection.id)
    assert renewed.previous_refresh_token == candidate


async def test_who_comes_too_late_brings_back_what_was_given_up_meanwhile(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client
) -> None:
    """A faster commit, then a refusal of it: the late token is the one that works, so it becomes the credential."""
    # F1
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart)
    hold_answers(sandbox)
    caller = asyncio.create_task(heart.refresher.refresh(connection.id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    later = await commit(heart, connection, Credential("faster", "refused"))
    assert await heart.records.annotate(later, status=Status.REAUTH_REQUIRED, updated_at=heart.clock())
    let_answers_go(sandbox)
    await caller
    current, _ = await held(heart, connection.id)
    assert (current.status, current.generation) == (Status.ACTIVE, 3)
    assert (await app.fetch(connection.id)).status_code == 200


@pytest.mark.parametrize(("provider", "given_back"), [("practice", 1), ("practice-shared", 0)])
async def test_what_comes_after_a_new_authorization_is_given_back(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    sandbox: httpx2.Client,
    provider: str,
    given_back: int,
) -> None:
    """It is of a grant that nobody lives from any more; unless revoking it would end the new one as well."""  # P9
    connection = await connected(app, http, heart, provider=provider)
    behave(sandbox, rotation="strict")
    hold_answers(sandbox)
    caller = asyncio.create_task(heart.refresher.refresh(connection.id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    renewed = replace(connection, generation=2, grant_id="grant_of_today")
    event = Event("connection.renewed", connection.tenant, heart.clock(), connection.id)
    assert (await heart.records.replace(connection, renewed, Credential("new", "new"), event)).stored
    let_answers_go(sandbox)
    await caller
    assert (await heart.parked.candidates(connection)).refresh_tokens == ()
    assert (await heart.parked.candidates(renewed)).refresh_tokens == ()
    assert revocations(sandbox) == given_back


async def test_what_is_parked_goes_with_the_connection(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Disconnecting gives back the parked tokens, too, and leaves none behind."""
    connection = await connected(app, http, heart)
    await heart.parked.park(connection, "late")
    ended = await app.call("DELETE", f"/v1/connections/{connection.id}")
    assert ended.json()["upstream"]["outcome"] == "revoked"
    assert revocations(sandbox) == 2
    assert not raw_store.exists(names.parked(connection.id))


@pytest.mark.parametrize(
    ("rotation", "works"),
    [("strict", True), ("revoke_on_reuse", False)],
)
async def test_a_late_token_over_a_refusal_is_verified(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    replica: Heart,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    rotation: str,
    works: bool,
) -> None:
    """A stalled holder's token comes after another replica waited in vain, saw the old one refused and gave up: where
    the grant lives the connection is back; where the second request ended it, it says so; no dead token is served."""
    # F1, F6, P10
    behave(sandbox, rotation=rotation)
    connection = await connected(app, http, heart)
    arrive = late_answers(heart, monkeypatch)
    clock.advance(seconds=3601)
    stalled = asyncio.create_task(heart.refresher.refresh(connection.id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    raw_store.delete(names.lease(connection.id))  # as its time does
    clock.advance(seconds=60)  # whatever the provider may take, it is over
    monkeypatch.setattr(attempt, "_STORES_WITHIN", 0.1)
    with pytest.raises(ReauthRequired):
        await replica.refresher.refresh(connection.id, 1)
    given_up = await heart.records.read(connection.id)
    assert given_up is not None
    assert given_up.health.last_error is not None
    assert (given_up.status, given_up.health.last_error.code) == (Status.REAUTH_REQUIRED, "refresh_outcome_unknown")

    arrive.set()
    outcome = (await asyncio.gather(stalled, return_exceptions=True))[0]
    assert (outcome is None) is works
    current, _ = await held(heart, connection.id)
    assert current.status is (Status.ACTIVE if works else Status.REAUTH_REQUIRED)
    if not works:
        assert isinstance(outcome, ReauthRequired)
        assert current.health.last_error is not None
        assert current.health.last_error.code == "refresh_outcome_unknown"
        assert current.health.next_refresh_at is None


async def test_a_second_use_that_ended_a_newer_grant_is_declared_at_once(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, replica: Heart, sandbox: httpx2.Client
) -> None:
    """A replica that a failover had made forget its lease sends a used token: whoever fetches next hears it."""  # F6
    behave(sandbox, rotation="revoke_on_reuse")
    connection = await connected(app, http, heart)
    send = heart.upstream.refresh

    async def overtaken(*arguments: Any, **options: Any) -> Any:
        await replica.refresher.refresh(connection.id, 1)
        return await send(*arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(heart.upstream, "refresh", overtaken)
        patched.setattr(replica.leases, "take", lost_in_a_failover(replica))
        with pytest.raises(ReauthRequired):
            await heart.refresher.refresh(connection.id, 1)
    current, _ = await held(heart, connection.id)
    assert (current.status, current.generation) == (Status.REAUTH_REQUIRED, 2)
    assert current.health.last_error is not None
    assert current.health.last_error.code == "refresh_outcome_unknown"
    assert sandbox.get("/counters").json()["reuse_detected"] == 1


@pytest.mark.parametrize("entry", ["practice", "practice-strict"])
async def test_a_refused_token_that_was_replaced_leaves_a_living_grant_alone(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, replica: Heart, sandbox: httpx2.Client, entry: str
) -> None:
    """At a provider that only refuses the used token, the newer one is asked about, lives, and is served."""  # P7
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart, provider=entry)
    send = heart.upstream.refresh

    async def overtaken(*arguments: Any, **options: Any) -> Any:
        await replica.refresher.refresh(connection.id, 1)
        return await send(*arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(heart.upstream, "refresh", overtaken)
        patched.setattr(replica.leases, "take", lost_in_a_failover(replica))
        await heart.refresher.refresh(connection.id, 1)
    current, _ = await held(heart, connection.id)
    assert current.status is Status.ACTIVE
    assert (await app.fetch(connection.id, stale_generation=1)).json()["generation"] == 2


def lost_in_a_failover(heart: Heart) -> Callable[[Connection, str], Awaitable[Lease | str]]:
    """Takes a lease as at a primary that never heard of another one, nor of an intent."""
    take = type(heart.leases).take

    async def forgetful(connection: Connection, owner: str) -> Lease | str:
        await heart.store.execute("DEL", names.lease(connection.id))
        await heart.store.execute("HDEL", names.record(connection.id), "i")
        return await take(heart.leases, connection, owner)

    return forgetful


async def test_a_lost_answer_hides_no_connection_that_was_given_up(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    heart: Heart,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The late commit is repeated because its answer was lost: the repeat hears, too, that it has to bring back."""
    # R3, F1
    behave(sandbox, rotation="strict")
    connection = await connected(app, http, heart)
    hold_answers(sandbox)
    refresh = heart.records.replace
    answers = []

    async def losing(*arguments: Any, **options: Any) -> Any:
        answers.append(await refresh(*arguments, **options))
        if len(answers) == 1:
            raise StoreUnavailable("the store did not answer")
        return answers[-1]

    monkeypatch.setattr(heart.records, "replace", losing)
    late = asyncio.create_task(heart.refresher.refresh(connection.id, 1))
    await eventually(lambda: refreshes(sandbox) == (1, 0))
    assert await heart.records.annotate(connection, status=Status.REAUTH_REQUIRED, updated_at=heart.clock())
    let_answers_go(sandbox)
    await late
    assert [(written.stored, written.given_up) for written in answers] == [(True, True)] * 2
    assert (await app.fetch(connection.id)).json()["generation"] == 2
    # Decided, and decided for good: another repeat has nothing to bring back.
    current, _ = await held(heart, connection.id)
    assert current.status is Status.ACTIVE
