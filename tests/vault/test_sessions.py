"""Connect sessions at rest: each step is taken by one caller, from where the session is believed to be."""

import asyncio
from dataclasses import replace

import pytest
import redis

from broker.errors import SealBroken
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.redis.store import Argument, Store
from broker.vault.sessions import KEPT_AFTER_END, Sessions
from tests.journey import everything_in
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import NOW

ENDS = NOW + 10**12
GOING = {"status": SessionStatus.AUTHORIZING, "browser_digest": "b1", "state_digest": "s1"}


@pytest.fixture
def sessions(pipeline: Store, keyring: Keyring) -> Sessions:
    """The sessions under test."""
    return Sessions(pipeline, keyring)


@pytest.fixture
async def session(sessions: Sessions) -> ConnectSession:
    """A session that was just opened."""
    session = ConnectSession(
        id="cs_1",
        tenant="acme",
        client_id="cl_app",
        client_name="App",
        provider="practice",
        subject="ann",
        completion=Completion.APP,
        scopes=("profile", "messages.read"),
        created_at=NOW,
        expires_at=ENDS,
        handle_digest="h1",
        return_url="https://app.example/back",
        state="the app's",
        parameters={"subdomain": "north"},
        label="Ann's",
        metadata={"seat": 4},
    )
    await sessions.create(session)
    return session


async def go(
    sessions: Sessions, session: ConnectSession, *, now: int = NOW, where: dict[str, str] | None = None
) -> bool:
    """Take the first step: the browser leaves for the provider."""
    change: dict[str, Argument] = dict(GOING)
    return await sessions.step(session, now=now, among=[SessionStatus.PENDING], change=change, where=where)


async def test_a_session_is_read_as_it_was_created(
    sessions: Sessions, session: ConnectSession, raw_store: redis.Redis
) -> None:
    """Every field comes back; the session disappears by itself an hour after its end."""
    assert await sessions.read("cs_1") == session
    assert raw_store.pexpiretime(names.session("cs_1")) == ENDS + KEPT_AFTER_END
    assert await sessions.read("cs_unknown") is None


async def test_a_step_changes_what_it_names(sessions: Sessions, session: ConnectSession) -> None:
    """And nothing else."""
    assert await go(sessions, session)
    changed = replace(session, status=SessionStatus.AUTHORIZING, browser_digest="b1", state_digest="s1")
    assert await sessions.read("cs_1") == changed


async def test_of_many_with_the_same_step_one_takes_it(sessions: Sessions, session: ConnectSession) -> None:
    """Fifty callers at once."""  # B3
    outcomes = await asyncio.gather(*(go(sessions, session) for _ in range(50)))
    assert sum(outcomes) == 1


@pytest.mark.parametrize(
    ("now", "where"),
    [
        (ENDS, {}),
        (ENDS + 1, {}),
        (NOW, {"browser_digest": "other"}),
        (NOW, {"handle_digest": "h1"}),
        (NOW, {"browser_digest": "", "state_digest": "s1"}),
    ],
    ids=["at its end", "late", "other value", "no such field", "one of two"],
)
async def test_a_step_that_does_not_fit_changes_nothing(
    sessions: Sessions, session: ConnectSession, now: int, where: dict[str, str]
) -> None:
    """Too late, or an expectation that doesn't hold."""
    assert not await go(sessions, session, now=now, where=where)
    assert await sessions.read("cs_1") == session


async def test_an_absent_field_counts_as_empty(sessions: Sessions, session: ConnectSession) -> None:
    """So that the first browser can be told from a second one."""  # B4
    assert await go(sessions, session, where={"browser_digest": ""})
    step: dict[str, Argument] = {"browser_digest": "b2"}
    among = [SessionStatus.PENDING, SessionStatus.AUTHORIZING]
    assert not await sessions.step(session, now=NOW, among=among, change=step, where={"browser_digest": ""})
    assert await sessions.step(session, now=NOW, among=among, change=step, where={"browser_digest": "b1"})


async def test_an_unknown_session_takes_no_step(sessions: Sessions, session: ConnectSession) -> None:
    """And none is made by trying."""
    assert not await go(sessions, replace(session, id="cs_unknown"))
    assert await sessions.read("cs_unknown") is None


async def test_a_step_can_set_when_the_session_disappears(
    sessions: Sessions, session: ConnectSession, raw_store: redis.Redis
) -> None:
    """An ended session stays readable for a while and no longer."""
    ended: dict[str, Argument] = {"status": SessionStatus.FAILED, "error": "access_denied"}
    assert await sessions.step(session, now=NOW, among=[SessionStatus.PENDING], change=ended, keep=60_000)
    assert 0 < raw_store.pttl(names.session("cs_1")) <= 60_000
    read = await sessions.read("cs_1")
    assert read is not None
    assert (read.status, read.error) == (SessionStatus.FAILED, "access_denied")


async def test_verifier_and_code_are_sealed_for_their_session_and_field(
    sessions: Sessions, session: ConnectSession, raw_store: redis.Redis
) -> None:
    """They open where they belong and nowhere else, and none is readable."""  # K1, K2
    sealed: dict[str, Argument] = {
        "verifier": sessions.seal(session, "verifier", "canary-verifier"),
        "code": sessions.seal(session, "code", "canary-code"),
    }
    assert await sessions.open(session) == {}
    assert await sessions.step(session, now=NOW, among=[SessionStatus.PENDING], change=sealed)
    assert await sessions.open(session) == {"verifier": "canary-verifier", "code": "canary-code"}
    assert b"canary" not in everything_in(raw_store)

    with pytest.raises(SealBroken):
        await sessions.open(replace(session, tenant="other"))
    raw_store.copy(names.session("cs_1"), names.session("cs_2"))
    with pytest.raises(SealBroken):
        await sessions.open(replace(session, id="cs_2"))
    raw_store.hset(names.session("cs_1"), "code", sealed["verifier"])
    with pytest.raises(SealBroken):
        await sessions.open(session)


async def test_a_step_whose_answer_was_lost_is_taken_all_the_same(
    session: ConnectSession, sessions: Sessions, proxy: FaultyProxy, keyring: Keyring
) -> None:
    """A browser that left is sent on with its cookie, its answer is kept, and nobody else takes the step."""  # R3
    pipeline = open_store(f"redis://{proxy.address}", keyring, wait_replicas=0)
    faulty = Sessions(pipeline, keyring)
    assert await pipeline.execute("PING")
    proxy.drop_next_answer()
    assert await go(faulty, session)
    assert not await go(sessions, session)
    found = await sessions.read(session.id)
    assert found is not None
    assert (found.status, found.browser_digest) == (SessionStatus.AUTHORIZING, "b1")
    await pipeline.aclose()
