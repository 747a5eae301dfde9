"""Asking the providers: who is refused is named, who is away is waited for, and no refresh token is spent."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving import storing
from broker.connections.moving.judging import Judged
from broker.connections.moving.order import Stop
from broker.connections.moving.verifying import Verifying
from broker.errors import ProviderUnavailable
from tests.connections.moving.sealing import exported, read
from tests.connections.moving.taking_in import (
    all_of,
    key_row,
    key_rows,
    made,
    oauth_rows,
    order_of,
    silent,
    stored,
    take,
)
from tests.journey import MakeClient, everything_in
from tests.kinds.cases import ALICE_KEY, created, made_by
from tests.kinds.test_imported import refreshes
from tests.world import FakeClock

UNSPENT = {"ok": 0, "error": 0}


@pytest.fixture(autouse=True)
def _impatient(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between attempts."""
    monkeypatch.setattr(heart.moving.imports._storing._verifying, "_pauses", (0.0, 0.0))


async def test_a_key_that_is_refused_is_named_and_nothing_is_kept(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Also what passed before it; and the others are asked, so that all faults are known."""
    before = await stored(heart, raw_store)
    wrong = "pk_practice_nobody_0001"
    rows = key_rows(sandbox, 300)
    rows[100], rows[280] = key_row(101, wrong), key_row(281, wrong, subject="other")
    report = await take(heart, rows)
    assert [(fault.number, fault.field) for fault in report.faults] == [(101, "credentials"), (281, "credentials")]
    assert wrong not in repr(report)
    assert sandbox.get("/counters").json()["whoami"] == 300
    assert await stored(heart, raw_store) == before


@pytest.mark.parametrize("fault", ["status_500", "busy", "cut", "html"])
async def test_a_provider_that_is_down_pauses_and_the_rest_is_asked_later(
    heart: Heart, sandbox: httpx2.Client, fault: str
) -> None:
    """What was verified isn't asked again; other providers' rows go on meanwhile."""
    rows = key_rows(sandbox, 40)
    rows += [replace(key_row(41, ALICE_KEY), provider="practice-bearer")]
    sandbox.post("/control", json={"api_fault": fault, "faults_left": 1_000_000}).raise_for_status()
    paused = await take(heart, rows)
    assert (paused.state, await all_of(heart)) == ("paused", [])
    assert "practice-key" in (paused.why or "")
    sandbox.post("/control", json={"reset": True}).raise_for_status()
    # The pause that the provider's silence began is over.
    for key in await heart.store.execute("KEYS", "broker:{gate:*"):
        await heart.store.execute("DEL", key)
    done = await take(heart, rows)
    assert (done.state, done.imported, done.batch) == ("done", 41, paused.batch)


async def test_a_resumed_run_asks_only_about_the_others(heart: Heart, sandbox: httpx2.Client) -> None:
    """What was verified before the interruption is known to be."""
    rows, stop = key_rows(sandbox, 300), Stop()
    seen: list[int] = []

    def tell(step: str, done: int, _of: int | None) -> None:
        if step == "verifying":
            seen.append(done)
            stop.set()

    paused = await heart.moving.imports.run(order_of(rows), lambda: iter(rows), tell, stop)
    asked = sandbox.get("/counters").json()["whoami"]
    assert (paused.state, asked) == ("paused", seen[0])
    assert await all_of(heart) == []
    done = await take(heart, rows)
    assert (done.state, done.imported, done.unverified, done.batch) == ("done", 300, 0, paused.batch)
    assert sandbox.get("/counters").json()["whoami"] == 300


@pytest.mark.parametrize("rotation", ["strict", "revoke_on_reuse", "none"])
async def test_no_refresh_token_is_spent(
    heart: Heart, sandbox: httpx2.Client, clock: FakeClock, make_client: MakeClient, rotation: str
) -> None:
    """A row whose access token is over is taken in unasked, counted, and refreshed by whoever fetches first."""
    sandbox.post("/control", json={"rotation": rotation}).raise_for_status()
    provider = {"strict": "practice-strict", "revoke_on_reuse": "practice", "none": "practice-graceful"}[rotation]
    living = oauth_rows(sandbox, 2, provider, expires_at=clock() // 1000 + 3600)
    over = [replace(row, number=row.number + 2) for row in oauth_rows(sandbox, 2, provider, expires_at=1)]
    alone = replace(living[0], number=5, subject="user 5")
    grant = oauth_rows(sandbox, 1, provider)[0]
    alone = replace(alone, credentials={"refresh_token": grant.credentials["refresh_token"]})
    rows = [*living, *[replace(row, subject=f"user {row.number}") for row in over], alone]
    report = await take(heart, rows)
    assert (report.state, report.imported, report.unverified) == ("done", 5, 3)
    assert refreshes(sandbox) == UNSPENT
    assert sandbox.get("/counters").json()["whoami"] == 2
    app = await make_client("app")
    connections = await made(heart, report, rows)
    assert [connection.health.last_checked_at is None for connection in connections] == [False, False, True, True, True]
    for connection in connections[2:]:
        assert (await app.fetch(connection.id)).json()["generation"] == 2
    assert refreshes(sandbox) == {"ok": 3, "error": 0}


async def test_an_access_token_that_died_before_its_time_is_a_fault(
    heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Where the file says when it ends. Where it doesn't, it may just be over: its refresh token is kept for later."""
    rows = oauth_rows(sandbox, 1, expires_at=clock() // 1000 + 3600)
    unsaid = [replace(rows[0], credentials={k: v for k, v in rows[0].credentials.items() if k != "expires_at"})]
    sandbox.post("/control", json={"expire_access_tokens": True}).raise_for_status()
    assert [fault.field for fault in (await take(heart, rows)).faults] == ["credentials"]
    report = await take(heart, unsaid)
    assert (report.state, report.unverified) == ("done", 1)
    (connection,) = await made(heart, report, unsaid)
    assert not connection.outlives(clock())
    assert refreshes(sandbox) == UNSPENT


async def test_what_was_granted_less_than_it_was_asked_for_is_counted(heart: Heart, sandbox: httpx2.Client) -> None:
    """By what the provider or the file says. It is no fault: it works, and somebody lives with what it may do."""
    sandbox.post("/control", json={"key_scopes": ["profile"]}).raise_for_status()
    both = ["profile", "messages.read"]
    asked = (both, ["profile"], None, both)
    rows = [key_row(n, made_by(sandbox, "api_key")["api_key"], scopes=each) for n, each in enumerate(asked, 1)]
    oauth = oauth_rows(sandbox, 1, scope="profile")[0]
    rows.append(replace(oauth, number=5, subject="user 5", scopes=both))
    checked = await take(heart, rows, order=order_of(rows, dry_run=True))
    assert (checked.state, checked.lacking) == ("checked", 3)
    stop = Stop()

    def tell(step: str, _done: int, _of: int | None) -> None:
        if step == "verifying":
            stop.set()

    paused = await heart.moving.imports.run(order_of(rows), lambda: iter(rows), tell, stop)
    assert (paused.state, paused.lacking) == ("paused", 3)
    for again in range(2):
        report = await take(heart, rows)
        assert (report.state, report.already, report.lacking) == ("done", bool(again), 3)


async def test_a_provider_says_when_to_come_back(heart: Heart, sandbox: httpx2.Client, clock: FakeClock) -> None:
    """A time that is worth waiting for is told; what the broker waits out by itself is not."""
    for seconds, told in ((600, clock() + 600_000), (1, None), (None, None)):
        sandbox.post("/control", json={"api_fault": "busy", "faults_left": 1000, "retry_after": seconds})
        report = await take(heart, key_rows(sandbox, 2), verify=True)
        assert (report.state, report.again_at) == ("paused", told)
        for key in await heart.store.execute("KEYS", "broker:{gate:*"):
            await heart.store.execute("DEL", key)


async def test_what_a_provider_refuses_can_be_taken_in_as_it_is(heart: Heart, sandbox: httpx2.Client) -> None:
    """The fault says so, and the option does it; where only the form is wrong, no option helps."""
    rows = [*key_rows(sandbox, 1), key_row(2, "pk_practice_nobody_0001")]
    assert [fault.remedy for fault in (await take(heart, rows)).faults] == ["no-verify"]
    assert [fault.remedy for fault in (await take(heart, [key_row(3, "wrong")])).faults] == [None]
    report = await take(heart, rows, order=order_of(rows, verify=False))
    assert (report.state, report.imported, report.unverified) == ("done", 2, 2)


async def test_a_restored_credential_that_died_can_be_restored_as_it_is(
    heart: Heart, other_heart: Heart, sandbox: httpx2.Client, make_client: MakeClient
) -> None:
    """Its history is worth keeping, and whoever uses it sees; who it is, the fault says."""
    app = await make_client("app")
    key = made_by(sandbox, "api_key")
    connection = await created(app, "practice-key", key)
    file, _ = await exported(heart)
    sandbox.post("/control", json={"revoked_keys": [key["api_key"]]}).raise_for_status()
    rows = list(read(file))
    report = await take(other_heart, rows)
    assert [(fault.source_id, fault.remedy) for fault in report.faults] == [(connection["id"], "no-verify")]
    report = await take(other_heart, rows, order=order_of(rows, verify=False))
    assert (report.state, report.imported, report.unverified) == ("done", 1, 1)
    there = await take(other_heart, rows, order=order_of([*rows, key_row(9)]))
    assert [(fault.source_id, fault.remedy) for fault in there.faults] == [(connection["id"], "existing-skip")]


async def test_a_credential_of_another_account_is_a_fault(heart: Heart, sandbox: httpx2.Client) -> None:
    """Where the file says whose it is, the provider has to agree."""
    rows = [key_row(1, ALICE_KEY, account_id="usr_1001"), key_row(2, ALICE_KEY, account_id="usr_9999")]
    report = await take(heart, rows)
    assert [(fault.number, fault.field) for fault in report.faults] == [(2, "account_id")]


async def test_what_tokens_are_issued_for_is_tested_by_having_one_issued(
    heart: Heart, sandbox: httpx2.Client, clock: FakeClock, make_client: MakeClient
) -> None:
    """Client credentials and apps. Unasked, nothing is issued before somebody fetches."""
    rows: list[Any] = [
        replace(key_row(1), provider="practice", credentials={}),
        replace(key_row(2), provider="practice-app", credentials={"installation_id": "1001"}),
    ]
    report = await take(heart, rows)
    assert (report.state, report.unverified) == ("done", 0)
    issued = sandbox.get("/counters").json()["installation_tokens"]
    rows = [replace(row, subject=f"another {row.number}") for row in rows]
    report = await take(heart, rows, verify=False)
    assert (report.state, report.unverified) == ("done", 2)
    assert sandbox.get("/counters").json()["installation_tokens"] == issued
    app = await make_client("app")
    for connection in await made(heart, report, rows):
        assert (await app.fetch(connection.id)).status_code == 200


async def test_a_provider_sees_no_more_at_once_than_it_bears(
    heart: Heart, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All replicas of the broker counted: slots are taken in the store."""
    entered: list[int] = []
    under_way = 0
    identify = heart.upstream.identify

    async def counted(*args: Any, **more: Any) -> Any:
        nonlocal under_way
        under_way += 1
        entered.append(under_way)
        try:
            return await identify(*args, **more)
        finally:
            under_way -= 1

    monkeypatch.setattr(type(heart.upstream), "identify", lambda _self, *args, **more: counted(*args, **more))
    cap = heart.providers.get("practice-key").refresh.max_concurrent
    monkeypatch.setattr(storing, "_ASKED_AT_ONCE", 4 * cap)
    rows = key_rows(sandbox, 6 * cap)
    assert (await take(heart, rows)).state == "done"
    assert max(entered) <= cap


async def test_no_secret_of_a_file_stands_in_the_store(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """Staged or published, paused or done."""  # K1
    rows, stop = [*key_rows(sandbox, 20)], Stop()
    rows += [replace(row, number=row.number + 20, subject=f"x{row.number}") for row in oauth_rows(sandbox, 5)]
    secrets = [value for row in rows if not hasattr(row, "field") for value in row.credentials.values()]

    def tell(step: str, _done: int, _of: int | None) -> None:
        if step == "verifying":
            stop.set()

    assert (await heart.moving.imports.run(order_of(rows), lambda: iter(rows), tell, stop)).state == "paused"
    assert not [secret for secret in secrets if secret.encode() in everything_in(raw_store)]
    await heart.moving.imports.run(order_of(rows), lambda: iter(rows), silent, Stop())
    assert not [secret for secret in secrets if secret.encode() in everything_in(raw_store)]


@pytest.mark.parametrize(("in_all", "retry_after", "attempts"), [(60.0, None, 3), (0.0, None, 1), (60.0, 61, 1)])
async def test_a_row_waits_for_its_provider_for_a_minute_in_all(
    heart: Heart, monkeypatch: pytest.MonkeyPatch, in_all: float, retry_after: int | None, attempts: int
) -> None:
    """And not at all where the provider wants to be left alone for longer than that."""
    asked: list[int] = []

    async def away(_: Verifying, judged: Judged, *_given: Any) -> None:
        asked.append(judged.row.number)
        raise ProviderUnavailable("away", retry_after=retry_after)

    monkeypatch.setattr(Verifying, "_new", away)
    monkeypatch.setattr("broker.connections.moving.verifying._IN_ALL", in_all)
    assert (await take(heart, [key_row(1)], verify=False)).state == "paused"
    assert len(asked) == attempts


async def test_who_waits_for_a_provider_ends_when_another_row_has_given_it_up(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of finding out for itself."""
    asked: list[int] = []

    async def away(_: Verifying, judged: Judged, *_given: Any) -> None:
        asked.append(judged.row.number)
        # The last one gives up at once, while the others wait for another attempt.
        raise ProviderUnavailable("away", retry_after=3600 if judged.row.number == 9 else None)

    monkeypatch.setattr(Verifying, "_new", away)
    monkeypatch.setattr(heart.moving.imports._storing._verifying, "_pauses", (0.05, 0.05, 0.05))
    assert (await take(heart, [key_row(number) for number in range(1, 10)], verify=False)).state == "paused"
    assert sorted(asked) == list(range(1, 10))
