"""An answer that got lost, under every rotation policy at every provider: what is tried, what is served, what is said.

The provider has done its work, then closed the connection. What the entry says of it decides whether its refresh token
may be sent a second time while the old access token still lives; what the provider really does decides how that ends.
"""

import httpx2
import pytest

from tests.connections.caller import Connect, connect
from tests.connections.practice import behave
from tests.world import FakeClock

__all__ = ["connect"]

RENEWED, KEPT, LOST = "renewed", "kept", "lost"
"""A new token; the old one, and nobody was asked; ``reauth_required``, with its reason."""

POLICIES = {
    "practice-graceful": (RENEWED, LOST),  # rotation: none
    "practice-grace": (RENEWED, LOST),
    "practice-strict": (KEPT, KEPT),
    "practice": (KEPT, KEPT),  # rotation: revoke_on_reuse
}
"""By entry: what comes of asking again while the old access token lives, at a provider that takes a used refresh token
again, and at one that doesn't."""


@pytest.mark.parametrize("rotation", ["none", "grace", "strict", "revoke_on_reuse"])
@pytest.mark.parametrize("entry", POLICIES)
async def test_a_lost_answer_is_dealt_with_as_the_entry_says(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, entry: str, rotation: str
) -> None:
    """Only who says that no harm is in it asks twice; the others wait for the token's end, then find out."""  # P10
    behave(sandbox, rotation=rotation)
    caller = await connect(entry)
    alive = (await caller.fetch()).json()["access_token"]
    behave(sandbox, token_fault="cut", fault_when="after", faults_left=1)
    assert (await caller.fetch(min_ttl=7200)).json()["access_token"] == alive

    takes_used_ones = rotation in ("none", "grace")
    early = POLICIES[entry][0 if takes_used_ones else 1]
    again = await caller.fetch(min_ttl=7200)
    assert asked(sandbox) == (1 if early == KEPT else 2)
    if early == RENEWED:
        assert again.json()["generation"] == 2
    if early == KEPT:
        assert again.json()["access_token"] == alive
        assert (await caller.shown())["health"]["last_error"]["code"] == "provider_unavailable"
        clock.advance(seconds=3601)
        again = await caller.fetch()
        assert asked(sandbox) == 2
    if takes_used_ones:
        assert again.json()["generation"] == 2
        assert (await caller.shown())["health"]["status"] == "healthy"
        assert (await caller.fetch(stale_generation=2)).json()["generation"] == 3
    else:
        assert (again.status_code, again.json()["code"]) == (409, "reauth_required")
        shown = await caller.shown()
        assert shown["status"] == "reauth_required"
        assert shown["health"]["last_error"]["code"] == "refresh_outcome_unknown"


async def test_after_its_grace_a_lost_answer_is_not_asked_for_again(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """Within the grace a repeat would have worked; later it waits for the old token's end, as under ``strict``."""
    # P10
    behave(sandbox, rotation="grace", grace=60)
    caller = await connect("practice-grace")
    alive = (await caller.fetch()).json()["access_token"]
    behave(sandbox, token_fault="cut", fault_when="after", faults_left=1)
    await caller.fetch(min_ttl=7200)
    clock.advance(seconds=61)
    behave(sandbox, clock_ahead=61)
    assert (await caller.fetch(min_ttl=7200)).json()["access_token"] == alive
    assert asked(sandbox) == 1
    clock.advance(seconds=3540)
    assert (await caller.fetch()).status_code == 409
    assert (await caller.shown())["health"]["last_error"]["code"] == "refresh_outcome_unknown"


@pytest.mark.parametrize("rotation", ["strict", "revoke_on_reuse"])
async def test_a_person_who_connects_again_ends_what_was_unknown(
    connect: Connect, sandbox: httpx2.Client, clock: FakeClock, rotation: str
) -> None:
    """A lost rotation needs the person once; afterwards the connection is as good as new."""  # P10
    behave(sandbox, rotation=rotation)
    caller = await connect("practice-strict")
    behave(sandbox, token_fault="cut", fault_when="after", faults_left=1)
    await caller.fetch(min_ttl=7200)
    clock.advance(seconds=3601)
    assert (await caller.fetch()).status_code == 409
    await caller.reconnect()
    assert (await caller.fetch(stale_generation=2)).json()["generation"] == 3
    shown = await caller.shown()
    assert (shown["status"], shown["health"]["status"]) == ("active", "healthy")


def asked(sandbox: httpx2.Client) -> int:
    """How many refreshes the provider was asked for."""
    counted = sandbox.get("/counters").json()["token"]["refresh_token"]
    return int(counted["ok"] + counted["error"])
