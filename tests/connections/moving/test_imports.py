"""Taking a file in: what becomes of its rows, what is refused, and that it is all of them or none."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.connections.moving.row import Restored, Row, RowFault
from broker.models.connection import Status
from broker.vault import names
from tests.connections.moving.taking_in import (
    all_of,
    key_row,
    key_rows,
    listed,
    made,
    oauth_rows,
    stored,
    take,
)
from tests.journey import MakeClient
from tests.kinds.cases import ALICE, ALICE_KEY
from tests.world import FakeClock, ServiceClient


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A backend with every scope."""
    return await make_client("app")


async def test_rows_become_connections_that_serve(
    app: ServiceClient, heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """With what the file says of each, the account that the provider names, its consent and its event."""
    day_before = clock() - 86_400_000
    tokens = oauth_rows(sandbox, 1, "practice-graceful", expires_at=clock() // 1000 + 3600, scope="profile")[0]
    rows = [
        key_row(1, ALICE_KEY, label="Ann's", metadata={"seat": 4}, created_at=day_before, scopes=("profile",)),
        replace(tokens, number=2, scopes=("profile", "messages.read")),
    ]
    report = await take(heart, rows)
    assert (report.state, report.rows, report.imported, report.unverified) == ("done", 2, 2, 0)
    ids = await listed(heart, report, rows)
    assert [(one.row, one.source_id, one.provider, one.subject) for one in ids] == [
        (1, "theirs-1", "practice-key", "user 1"),
        (2, None, "practice-graceful", "user 1"),
    ]
    key, oauth = [(await app.call("GET", f"/v1/connections/{one.connection_id}")).json() for one in ids]
    assert (key["label"], key["metadata"], key["account"], key["status"]) == ("Ann's", {"seat": 4}, ALICE, "active")
    (consent,) = oauth["consents"]
    assert (consent["means"], consent["session"]) == ("import", report.batch)
    assert (consent["requested_scopes"], consent["granted_scopes"]) == (["profile", "messages.read"], ["profile"])
    assert (await heart.records.read(ids[0].connection_id)).created_at == day_before  # type: ignore[union-attr]
    for one, token in zip(ids, (ALICE_KEY, rows[1].credentials["access_token"]), strict=True):
        assert (await app.fetch(one.connection_id)).json()["access_token"] == token
        events = (await app.call("GET", f"/v1/connections/{one.connection_id}/events")).json()["items"]
        (told,) = [event for event in events if event["type"] == "connection.created"]
        assert (told["data"]["batch"], told["data"]["means"], told["client_id"]) == (report.batch, "import", None)


async def test_what_was_imported_is_due_as_if_it_had_been_made_here(
    heart: Heart, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Refreshes ahead and tests of what is idle find it, and so does whoever lists."""
    rows = oauth_rows(sandbox, 1, expires_at=clock() // 1000 + 3600)
    (connection,) = await made(heart, await take(heart, rows), rows)
    assert connection.health.next_refresh_at is not None
    due = await heart.store.execute("ZRANGE", names.due(connection.id), 0, -1)
    assert {member.decode().partition(":")[0] for member in due} == {"refresh", "check"}
    assert await all_of(heart) == [connection]


async def test_one_bad_row_and_nothing_is_taken_in(heart: Heart, raw_store: redis.Redis) -> None:
    """All faults are named at once, by row and field, and the store is as it was."""
    before = await stored(heart, raw_store)
    secret = "not-a-key-but-a-secret-all-the-same"
    rows = [key_row(number) for number in range(1, 600)]
    rows[299] = key_row(300, secret)
    rows[400] = key_row(401, subject="")
    report = await take(heart, rows, verify=False)
    assert report.state == "refused"
    assert [(fault.number, fault.field) for fault in report.faults] == [(300, "credentials.api_key"), (401, "subject")]
    assert secret not in repr(report)
    assert await stored(heart, raw_store) == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": "nobody-knows-it"}, "provider"),
        ({"provider": ""}, "provider"),
        ({"provider": "unconfigured", "credentials": {"access_token": "pat_x"}}, "provider"),
        ({"subject": "x" * 256}, "subject"),
        ({"subject": "\ud800"}, "subject"),
        ({"label": "x" * 201}, "label"),
        ({"metadata": {str(number): 1 for number in range(51)}}, "metadata"),
        ({"scopes": ["two scopes"]}, "scopes"),
        ({"scopes": ["x"] * 101}, "scopes"),
        ({"parameters": {"unknown": "x"}}, "parameters.unknown"),
        ({"created_at": 9**15}, "created_at"),
        ({"account_id": "x" * 256}, "account_id"),
        ({"credentials": {"api_key": ALICE_KEY, "other": "x"}}, "credentials"),
        ({"credentials": {}}, "credentials.api_key"),
        ({"provider": "practice", "credentials": {"access_token": "pat_x", "expires_at": 1}}, "credentials"),
        ({"provider": "practice-graceful", "credentials": {"scope": "profile"}}, "credentials.access_token"),
        ({"provider": "practice-native", "credentials": {}}, "provider"),
    ],
)
async def test_a_row_beyond_the_bounds_is_named(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, changes: dict[str, Any], field: str
) -> None:
    """Nobody is asked, nothing is stored, and what stood there is not repeated."""
    before = await stored(heart, raw_store)
    report = await take(heart, [replace(key_row(7), **changes)])
    assert (report.state, [(fault.number, fault.field) for fault in report.faults]) == ("refused", [(7, field)])
    assert [fault.source_id for fault in report.faults] == ["theirs-7"]
    assert await stored(heart, raw_store) == before
    assert sandbox.get("/counters").json()["whoami"] == 0


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("practice prod", "--map-provider 'practice prod=ENTRY'"),
        ("practise", "--map-provider practise=ENTRY"),
        ("canary swordfish", "there is no such provider here"),
        ("canary", "there is no such provider here"),
        ("GitHubCanary", "there is no such provider here"),
        ("canary-" * 6, "there is no such provider here"),
        ("canary4711", "there is no such provider here"),
    ],
)
async def test_a_provider_that_is_not_here_is_named_if_it_is_a_name(heart: Heart, named: str, said: str) -> None:
    """Shortly, for the whole file may be of it; where columns are shifted a password may stand there."""
    report = await take(heart, [key_row(1, provider=named)])
    (fault,) = report.faults
    assert said in fault.message
    assert len(fault.message) < 150
    assert "canary" not in repr(report).lower()


async def test_a_source_id_that_is_the_credential_is_not_told(heart: Heart) -> None:
    """Columns may be shifted."""
    report = await take(heart, [replace(key_row(1, "pk_canary", label="x" * 201), source_id="pk_canary")])
    assert "canary" not in repr(report)
    assert {fault.source_id for fault in report.faults} == {None}


async def test_what_the_reader_could_not_read_is_told_with_the_rest(heart: Heart) -> None:
    """A fault of the file stands among those of the rows, in their order."""
    report = await take(heart, [key_row(1, "pk x"), RowFault(2, "row", "has too many cells"), key_row(3, subject="")])
    assert [fault.number for fault in report.faults] == [1, 2, 3]


async def test_one_refresh_token_in_two_rows_is_refused(heart: Heart, sandbox: httpx2.Client) -> None:
    """Two connections that live from it would end each other's grant; one API key may serve several subjects."""
    (row,) = oauth_rows(sandbox, 1)
    twin = replace(row, number=2, subject="somebody else")
    report = await take(heart, [row, twin], verify=False)
    assert [(fault.number, fault.field) for fault in report.faults] == [(2, "credentials.refresh_token")]
    shared = [key_row(1, ALICE_KEY), key_row(2, ALICE_KEY)]
    assert (await take(heart, shared, verify=False)).state == "done"
    twice = [key_row(3), replace(key_row(3), number=4)]
    assert [fault.number for fault in (await take(heart, twice, verify=False)).faults] == [4]


async def test_who_is_connected_already_is_a_choice(heart: Heart) -> None:
    """Refused by default; ``skip`` leaves such rows out, ``add`` makes another connection."""
    assert (await take(heart, [key_row(2)], verify=False)).state == "done"
    rows = [key_row(number, label="new") for number in (1, 2, 3)]
    refused = await take(heart, rows, verify=False)
    assert [(fault.number, fault.field) for fault in refused.faults] == [(2, "subject")]
    skipped = await take(heart, rows, verify=False, existing="skip")
    assert (skipped.state, skipped.imported, skipped.skipped) == ("done", 2, 1)
    assert [one.row for one in await listed(heart, skipped, rows)] == [1, 3]
    more = [key_row(2, label="another")]
    assert (await take(heart, more, verify=False, existing="add")).imported == 1
    subjects = sorted(connection.subject for connection in await all_of(heart))
    assert subjects == ["user 1", "user 2", "user 2", "user 3"]


async def test_another_account_of_the_same_person_is_another_connection(heart: Heart, sandbox: httpx2.Client) -> None:
    """Where the provider has said whose the one is, and the file says whose the other. What nobody knows may be any."""
    assert (await take(heart, [key_row(1, ALICE_KEY)])).state == "done"
    assert (await take(heart, [key_row(1, "pk_practice_third", label="third")], verify=False)).state == "refused"
    other = key_row(1, "pk_practice_other", account_id="usr_b")
    assert (await take(heart, [other], verify=False)).state == "done"
    assert (await take(heart, [replace(other, account_id="usr_c")], verify=False)).state == "refused"


async def test_the_same_file_again_changes_nothing(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """It is found again, says so, and names the same connections."""
    rows = key_rows(sandbox, 3)
    first = await take(heart, rows)
    before, asked = await stored(heart, raw_store), sandbox.get("/counters").json()["whoami"]
    again = await take(heart, rows)
    assert (again.state, again.already, again.batch, again.imported) == ("done", True, first.batch, 3)
    assert await listed(heart, again, rows) == await listed(heart, first, rows)
    assert (await take(heart, rows, dry_run=True)).already
    assert await stored(heart, raw_store) == before
    assert sandbox.get("/counters").json()["whoami"] == asked == 3


async def test_a_dry_run_asks_and_stores_nothing(
    heart: Heart, raw_store: redis.Redis, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """The same report, with what the providers refuse, and no key more than before."""
    rows = [*key_rows(sandbox, 2), replace(oauth_rows(sandbox, 1, expires_at=1)[0], number=3)]
    before = await stored(heart, raw_store)
    report = await take(heart, rows, dry_run=True)
    assert (report.state, report.rows, report.unverified, report.batch) == ("checked", 3, 1, None)
    rows.append(key_row(4, "pk_practice_nobody_0001"))
    report = await take(heart, rows, dry_run=True)
    assert [(fault.number, fault.field) for fault in report.faults] == [(4, "credentials")]
    assert await stored(heart, raw_store) == before


async def test_a_restored_connection_keeps_what_it_was(
    app: ServiceClient, heart: Heart, other_heart: Heart, sandbox: httpx2.Client
) -> None:
    """Id, tenant, history, status and generation; a second time it is in its own way."""
    rows = key_rows(sandbox, 2)
    there = await made(heart, await take(heart, rows), rows)
    off = replace(there[1], status=Status.DISABLED, generation=5)
    credentials = [(await heart.records.read_with_credential(one.id))[1] for one in there]  # type: ignore[index]
    back: list[Row] = [
        replace(key_row(number), credentials={}, restored=Restored(connection, credential))  # type: ignore[arg-type]
        for number, (connection, credential) in enumerate(zip((there[0], off), credentials, strict=True), 1)
    ]
    report = await take(other_heart, back)
    assert (report.state, report.imported, report.unverified) == ("done", 2, 1)
    for connection, credential in zip((there[0], off), credentials, strict=True):
        assert await other_heart.records.read_with_credential(connection.id) == (connection, credential)
    assert not await other_heart.store.execute("ZRANGE", names.due(off.id), 0, -1) or names.due(off.id) == names.due(
        there[0].id
    )
    refused = await take(heart, back)
    assert {fault.field for fault in refused.faults} == {"id"}
    assert (await take(heart, back, existing="skip")).skipped == 2
    foreign = replace(there[0], id="con_" + "7" * 22, minted=replace(there[0].minted, issuer="https://other.example"))
    elsewhere = [replace(back[0], restored=Restored(foreign, credentials[0]))]  # type: ignore[arg-type]
    assert [fault.field for fault in (await take(heart, elsewhere, existing="add")).faults] == ["provider"]


async def test_what_nobody_was_asked_about_is_not_taken_for_tested(heart: Heart) -> None:
    """Whatever the file says of it."""
    rows = [key_row(1, account_id="usr_9", account_name="Nina")]
    report = await take(heart, rows, verify=False)
    (connection,) = await made(heart, report, rows)
    assert (connection.health.last_checked_at, report.unverified) == (None, 1)


async def test_two_imports_of_one_file_are_one(heart: Heart, providers: Any, settings: Any, clock: FakeClock) -> None:
    """Who comes while the other is at it waits for its end; then, as later, it is done."""
    second = build_heart(settings, providers, clock)
    rows = [key_row(number) for number in range(1, 301)]
    told = await asyncio.gather(take(heart, rows, verify=False), take(second, rows, verify=False))
    assert sorted(report.already for report in told) == [False, True]
    assert [report.imported for report in told] == [300, 300]
    assert (await take(second, rows, verify=False)).already
    assert len(await all_of(heart)) == 300
    await second.aclose(work_ends_within=2)
