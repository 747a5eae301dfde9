"""What a file says of a connection and nobody has confirmed: it is compared, and not believed."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.background.checking import Checking
from broker.connections.moving.order import Stop
from broker.connections.moving.renewing import renew
from broker.connections.moving.row import Row
from broker.models.account import Account
from broker.models.connection import Connection, Status
from broker.models.event import Event
from broker.vault.siblings import Siblings
from tests.background.test_checking import DAY, work_off
from tests.connections.moving.taking_in import made, oauth_rows, silent, take
from tests.journey import MakeClient
from tests.kinds.cases import ALICE, ALICE_KEY, created
from tests.kinds.test_imported import tokens_of
from tests.world import FakeClock

ALICES = Account(ALICE["id"], ALICE["name"])


async def taken(heart: Heart, *rows: Row, **options: Any) -> list[Connection]:
    """The connections of these rows."""
    report = await take(heart, rows, **options)
    assert report.state == "done", report.faults
    return await made(heart, report, rows)


async def now(heart: Heart, connection: Connection) -> Connection:
    """The connection as it is stored by now."""
    found = await heart.records.read(connection.id)
    assert found is not None
    return found


async def unknown_one(heart: Heart, sandbox: httpx2.Client) -> Connection:
    """A connection that works, and whose account nobody knows."""
    (row,) = oauth_rows(sandbox, 1, "practice-graceful", expires_at=heart.clock() // 1000 + 10 * DAY)
    (connection,) = await taken(heart, replace(row, account_id=ALICE["id"]), verify=False)
    return connection


async def test_a_claimed_account_is_not_taken_for_a_proven_one(
    heart: Heart, sandbox: httpx2.Client, make_client: MakeClient
) -> None:
    """Otherwise whoever writes the file has another's connection stand in for it."""
    app = await make_client("app")
    real = await created(app, "practice-strict", tokens_of(sandbox), subject="ann")
    claims = Row(1, "practice-strict", "ann", {"refresh_token": "prt_nobodys"}, account_id=ALICE["id"])
    (connection,) = await taken(heart, claims, existing="add")
    assert connection.account is None
    assert connection.consents[0].account is None
    refused = await app.call("PATCH", f"/v1/connections/{connection.id}", {"fallback": real["id"]})
    assert refused.status_code == 400
    # Whose grant it shares nobody knows: it may be anybody's.
    other = replace(connection, account=Account("usr_1002", None))
    assert connection.id in await Siblings(heart.store).sharing(other)


@pytest.mark.parametrize("by", ["being asked", "the daily check", "a refresh after the import"])
async def test_a_test_learns_whose_account_it_is(
    heart: Heart, sandbox: httpx2.Client, make_client: MakeClient, clock: FakeClock, by: str
) -> None:
    """At once, for readers and for those that share its grant; a refresh keeps it."""
    connection = await unknown_one(heart, sandbox)
    app = await make_client("app")
    if by == "being asked":
        assert (await app.call("POST", f"/v1/connections/{connection.id}/test")).json()["account"] == ALICE
    elif by == "the daily check":
        clock.advance(seconds=2 * DAY)
        app._token = ""
        parts = (heart.due, heart.records, heart.lifecycle, heart.providers, heart.clock)
        assert await work_off(Checking(*parts)) == 1
    else:
        ids = iter([connection.id])
        done = await renew(heart.lifecycle, heart.records, heart.turns, heart.providers, ids, silent, Stop())
        assert done.refreshed == 1
    assert (await now(heart, connection)).account == ALICES
    assert (await app.call("GET", f"/v1/connections/{connection.id}")).json()["account"] == ALICE
    other = replace(connection, account=Account("usr_1002", None))
    assert connection.id not in await Siblings(heart.store).sharing(other)
    assert connection.id in await Siblings(heart.store).sharing(replace(connection, account=ALICES))
    await heart.bookkeeping.settle_all()
    events = (await app.call("GET", f"/v1/connections/{connection.id}/events")).json()["items"]
    assert [event["type"] for event in events].count("connection.identified") == 1
    before = await now(heart, connection)
    await heart.lifecycle.refresh(before, request_id=None)
    after = await now(heart, connection)
    assert (after.generation, after.account) == (before.generation + 1, ALICES)


async def test_what_was_learned_ends_with_its_grant(
    heart: Heart, sandbox: httpx2.Client, make_client: MakeClient
) -> None:
    """Another credential that nobody was asked about may be another account's."""
    connection = await unknown_one(heart, sandbox)
    await heart.lifecycle.test(connection, request_id=None)
    learned = await now(heart, connection)
    stored = await heart.records.read_with_credential(connection.id)
    assert stored is not None
    assert stored[1] is not None
    renewed = replace(learned, generation=learned.generation + 1, grant_id="grant_another", account=None)
    event = Event.about("connection.renewed", renewed, at=heart.clock())
    assert (await heart.records.replace(learned, renewed, stored[1], event)).stored
    assert (await now(heart, connection)).account is None


async def test_what_a_late_test_learns_is_not_noted(heart: Heart, sandbox: httpx2.Client) -> None:
    """It was another credential that was asked about."""
    connection = await unknown_one(heart, sandbox)
    await heart.lifecycle.refresh(connection, request_id=None)
    noted = await heart.records.annotate(connection, account=Account("usr_1002", None), updated_at=heart.clock())
    assert not noted
    assert (await now(heart, connection)).account is None


@pytest.mark.parametrize("provider", ["practice-graceful", "practice-key"])
async def test_scopes_that_a_file_does_not_say_are_unknown(heart: Heart, sandbox: httpx2.Client, provider: str) -> None:
    """The entry's defaults are what the broker would ask for, not what somebody has granted elsewhere."""
    row = Row(1, provider, "ann", {"api_key": ALICE_KEY})
    if provider == "practice-graceful":
        (row,) = oauth_rows(sandbox, 1, provider)
    (connection,) = await taken(heart, row, verify=provider == "practice-graceful")
    assert (connection.scopes, connection.requested_scopes) == ((), ())
    assert (connection.consents[0].requested, connection.consents[0].granted) == ((), ())


async def test_a_whoami_says_what_the_file_does_not(heart: Heart, sandbox: httpx2.Client) -> None:
    """Some providers list what a credential may do."""
    (connection,) = await taken(heart, Row(1, "practice-key", "ann", {"api_key": ALICE_KEY}))
    assert connection.scopes == connection.requested_scopes
    assert connection.scopes == ("profile", "messages.read", "messages.write", "offline_access")


@pytest.mark.parametrize(("provider", "granted"), [("practice-graceful", ("profile",)), ("practice-silent", ())])
async def test_what_was_unknown_is_no_loss_at_the_first_refresh(
    heart: Heart, sandbox: httpx2.Client, provider: str, granted: tuple[str, ...]
) -> None:
    """A provider that says what is granted is believed; one that doesn't leaves it unknown."""
    (row,) = oauth_rows(sandbox, 1, provider)
    (connection,) = await taken(heart, row)
    sandbox.post("/control", json={"granted_scopes": ["profile"]}).raise_for_status()
    refreshed = await heart.lifecycle.refresh(connection, request_id=None)
    assert refreshed.scopes == granted
    assert (refreshed.health.last_error, refreshed.status) == (None, Status.ACTIVE)


async def test_a_refresh_that_names_what_was_granted_needs_to_know_it(heart: Heart, sandbox: httpx2.Client) -> None:
    """Where the entry's refreshes do; where there is nothing to refresh with, nobody needs it."""
    (row,) = oauth_rows(sandbox, 1, "practice-named-scopes")
    report = await take(heart, [row])
    assert [(fault.field, report.state) for fault in report.faults] == [("credentials.scope", "refused")]
    access = {"access_token": row.credentials["access_token"]}
    (connection,) = await taken(heart, replace(row, credentials=access))
    assert connection.scopes == ()
    said = replace(row, subject="bob", credentials={**row.credentials, "scope": "profile messages.read"})
    (connection,) = await taken(heart, said)
    assert (await heart.lifecycle.refresh(connection, request_id=None)).scopes == ("profile", "messages.read")


async def test_scopes_are_taken_in_as_they_were_granted(heart: Heart, sandbox: httpx2.Client) -> None:
    """Also those that the entry doesn't list; not what no scope is called."""
    (row,) = oauth_rows(sandbox, 1, "practice-graceful")
    granted = {**row.credentials, "scope": "profile offline_access https://example.com/auth.read"}
    (connection,) = await taken(heart, replace(row, credentials=granted))
    assert connection.scopes == ("profile", "offline_access", "https://example.com/auth.read")
    wrong = replace(row, subject="bob", credentials={**row.credentials, "scope": 'profile "canary"'})
    report = await take(heart, [wrong])
    assert [fault.field for fault in report.faults] == ["credentials.scope"]
    assert "canary" not in report.faults[0].message


async def test_what_the_broker_asks_for_itself_is_known(heart: Heart, sandbox: httpx2.Client) -> None:
    """The app's own tokens: each is asked for with these scopes."""
    (connection,) = await taken(heart, Row(1, "practice", "robot", {}), verify=False)
    assert connection.requested_scopes == ("profile", "messages.read")
