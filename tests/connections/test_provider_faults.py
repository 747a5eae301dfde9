"""Every misbehaviour of a token endpoint, and what services see of it: a token while one lives, then a time to wait.

The practice provider misbehaves over the wire. What a lost answer means under each rotation policy is in
``test_lost_answers``.
"""

import httpx2
import pytest

from broker.providers import Registry
from tests.connections.caller import REFUSED, UNKNOWN, Connect, connect
from tests.connections.practice import behave, refreshes
from tests.world import FakeClock

__all__ = ["connect"]

UNAVAILABLE = (*UNKNOWN, "busy")  # P8


@pytest.fixture
def providers(providers: Registry) -> Registry:
    """The practice providers with a deadline that a test can wait for."""
    return Registry(provider.model_copy(update={"timeout": 3.0}) for provider in providers)


@pytest.mark.parametrize(("entry", "rotation"), [("practice-graceful", "none"), ("practice-strict", "strict")])
@pytest.mark.parametrize("fault", [*UNAVAILABLE, *REFUSED])
async def test_a_fault_costs_nothing_but_time(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, fault: str, entry: str, rotation: str
) -> None:
    """A token that lives is served, then it is 503 with a time to wait, or 502; and nothing was lost in between.

    A provider that asked for patience isn't asked before its time.
    """
    # P1, P2, P3, P8
    behave(sandbox, rotation=rotation)
    caller = await connect(entry)
    alive = (await caller.fetch()).json()["access_token"]
    behave(sandbox, token_fault=fault, retry_after=30 if fault == "busy" else None)

    bridged = await caller.fetch(min_ttl=7200)
    assert (bridged.status_code, bridged.json()["access_token"]) == (200, alive)
    assert refreshes(sandbox) == (0, 1)
    clock.advance(seconds=3601)
    over = await caller.fetch()
    left_alone = fault == "busy"  # with Retry-After
    if fault in REFUSED:
        assert (over.status_code, over.json()["code"]) == (502, "provider_error")
    else:
        assert (over.status_code, over.json()["code"]) == (503, "provider_unavailable")
        assert int(over.headers["retry-after"]) >= 1
    assert refreshes(sandbox) == (0, 1 if left_alone else 2)
    shown = await caller.shown()
    assert (shown["status"], shown["generation"], shown["health"]["status"]) == ("active", 1, "degraded")

    behave(sandbox, token_fault="none")
    renewed = await caller.recovered()
    assert renewed["generation"] == 2
    assert renewed["access_token"] != alive
    assert (await caller.shown())["health"]["status"] == "healthy"
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


@pytest.mark.parametrize("fault", [fault for fault in UNKNOWN if fault != "no_access_token"])
async def test_a_lost_rotation_is_declared_only_when_nothing_is_left(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, fault: str
) -> None:
    """The new refresh token went down with the answer: the old access token is served to its end, then it is said."""
    # P1, P2, P3, P10
    behave(sandbox, rotation="strict")
    caller = await connect("practice-strict")
    alive = (await caller.fetch()).json()["access_token"]
    behave(sandbox, token_fault=fault, fault_when="after", faults_left=1)
    for _ in range(2):
        bridged = await caller.fetch(min_ttl=7200)
        assert (bridged.status_code, bridged.json()["access_token"]) == (200, alive)
    assert (await caller.shown())["status"] == "active"
    assert refreshes(sandbox) == (1, 0)

    clock.advance(seconds=3601)
    for _ in range(2):
        over = await caller.fetch()
        assert (over.status_code, over.json()["code"]) == (409, "reauth_required")
    shown = await caller.shown()
    assert (shown["status"], shown["health"]["last_error"]["code"]) == ("reauth_required", "refresh_outcome_unknown")
    assert refreshes(sandbox) == (1, 1)


@pytest.mark.parametrize(("entry", "rotation"), [("practice-strict", "strict"), ("practice", "revoke_on_reuse")])
async def test_a_refresh_token_in_an_answer_of_no_other_use_is_not_lost(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, entry: str, rotation: str
) -> None:
    """200 without an access token, and the new refresh token in it: that one is kept, and works when it is needed."""
    # P3, P10
    behave(sandbox, rotation=rotation)
    caller = await connect(entry)
    alive = (await caller.fetch()).json()["access_token"]
    behave(sandbox, token_fault="no_access_token", fault_when="after", faults_left=1)
    bridged = await caller.fetch(min_ttl=7200)
    assert (bridged.status_code, bridged.json()["access_token"]) == (200, alive)
    clock.advance(seconds=3601)
    assert (await caller.fetch()).json()["generation"] == 2
    counters = sandbox.get("/counters").json()
    assert counters["token"]["refresh_token"] == {"ok": 2, "error": 0}
    assert counters["reuse_detected"] == 0
    assert (await caller.fetch(stale_generation=2)).json()["generation"] == 3


@pytest.mark.parametrize("fault", [*UNKNOWN, *REFUSED])
async def test_without_rotation_lost_work_is_done_again(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, fault: str
) -> None:
    """The provider issued a token that nobody got: the same refresh token gives another."""  # P1, P2, P3, P10
    caller = await connect("practice-graceful")
    behave(sandbox, token_fault=fault, fault_when="after", faults_left=1)
    clock.advance(seconds=3601)
    assert (await caller.fetch()).status_code == (502 if fault in REFUSED else 503)
    assert (await caller.recovered())["generation"] == 2
    assert refreshes(sandbox) == (2, 0)


async def test_a_busy_providers_own_time_to_wait_is_passed_on(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """429 with Retry-After: callers wait that long, or a little more; the refresh token is untouched."""  # P8
    behave(sandbox, rotation="revoke_on_reuse")
    caller = await connect()
    behave(sandbox, token_fault="busy", retry_after=17)
    clock.advance(seconds=3601)
    for _ in range(3):
        refused = await caller.fetch()
        assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
        assert 1 <= int(refused.headers["retry-after"]) <= 17 + 3
    behave(sandbox, token_fault="none")
    clock.advance(seconds=17)
    assert (await caller.recovered())["generation"] == 2
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


@pytest.mark.parametrize(
    ("told", "lives"),
    [
        (0, 300),
        (-5, 300),
        ("abc", 300),
        ({}, 300),
        ({"json": "1e400"}, 300),
        ({"json": "Infinity"}, 300),
        ("3600.5", 3600),
        ("absent", None),
        ({"json": "null"}, None),
    ],
)
async def test_an_odd_life_time_is_no_reason_to_lose_the_tokens(
    connect: Connect, sandbox: httpx2.Client, told: object, lives: int | None
) -> None:
    """Stored with a cautious lifetime, or with none where none is named; and the rotated refresh token with it."""
    # P4
    behave(sandbox, rotation="revoke_on_reuse")
    caller = await connect()
    behave(sandbox, expires_in=told)
    renewed = (await caller.fetch(stale_generation=1)).json()
    assert (renewed["generation"], renewed.get("expires_in")) == (2, lives)
    assert (await caller.fetch(stale_generation=2)).json()["generation"] == 3
    assert refreshes(sandbox) == (2, 0)


@pytest.mark.parametrize("form", ["absent", "empty", "null"])
async def test_no_new_refresh_token_leaves_the_old_one(connect: Connect, sandbox: httpx2.Client, form: str) -> None:
    """However a provider writes that there is none: the one there is goes on working (RFC 6749 §6)."""  # P5
    caller = await connect()
    behave(sandbox, refresh_token_form=form)
    for generation in (1, 2):
        assert (await caller.fetch(stale_generation=generation)).json()["generation"] == generation + 1
    assert refreshes(sandbox) == (2, 0)


async def test_fewer_scopes_are_recorded_and_come_back(connect: Connect, sandbox: httpx2.Client) -> None:
    """What the provider took away is no longer shown as held; when it grants it again, it is."""  # P6
    caller = await connect()
    assert (await caller.shown())["scopes"] == ["profile", "messages.read"]
    behave(sandbox, granted_scopes=["profile"])
    less = (await caller.fetch(stale_generation=1)).json()
    assert (less["generation"], less["scope"]) == (2, "profile")
    shown = await caller.shown()
    assert (shown["status"], shown["scopes"]) == ("active", ["profile"])
    behave(sandbox, granted_scopes=None)
    assert (await caller.fetch(stale_generation=2)).json()["scope"] == "profile messages.read"
    assert (await caller.shown())["scopes"] == ["profile", "messages.read"]


async def test_a_revocation_that_would_end_a_siblings_grant_is_not_sent(
    connect: Connect, sandbox: httpx2.Client
) -> None:
    """Where a revocation ends all that the account allowed: the sibling works on, and the last one takes it along."""
    # P9
    first, second = [await connect("practice-shared") for _ in range(2)]
    behave(sandbox, revocation_ends="account")
    assert (await first.disconnect())["outcome"] == "skipped_shared"
    assert (await second.fetch(stale_generation=1)).json()["generation"] == 2
    token = (await second.fetch()).json()["access_token"]
    assert (await second.disconnect())["outcome"] == "revoked"
    headers = {"Authorization": f"Bearer {token}"}
    assert sandbox.get("/whoami", headers=headers).status_code == 401
