"""An identifier works once, though the replicas' clocks don't agree on when its assertion ends."""

import httpx2
import pytest
import redis

from broker.access.assertions import SKEW
from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.providers import Registry
from broker.settings import Settings
from tests.downstream.oauth.conftest import FORM, Show, refused
from tests.signers import Signer, proof
from tests.world import PUBLIC_URL, FakeClock

_APART = SKEW - 5
"""Seconds that a replica's clock is off: within what is tolerated, and leaves the test some time for itself."""


@pytest.mark.parametrize("ahead", [-_APART, _APART])
async def test_what_one_replica_has_spent_no_other_takes_for_as_long_as_it_could(
    settings: Settings,
    providers: Registry,
    heart: Heart,
    show: Show,
    clock: FakeClock,
    signer: Signer,
    client_id: str,
    raw_store: redis.Redis,
    ahead: int,
) -> None:
    """The first replica's clock is ahead of the other's by nearly two minutes, or behind it."""  # S3
    there = FakeClock()
    second = build_heart(settings, providers, there)
    transport = httpx2.ASGITransport(app_of(second), client=("203.0.113.8", 40_000))
    assertion = signer.assertion(client_id, iat=signer.now - SKEW, exp=signer.now + SKEW)
    ends_at = clock.now + SKEW * 1000
    clock.advance(seconds=ahead)
    there.now = clock.now - 2 * ahead * 1000
    assert (await show(proof(assertion))).status_code == 200
    # The last moment at which it isn't too old for the other one: so much time passes in the store, too.
    passed = max(0, ends_at + SKEW * 1000 - 1000 - there.now)
    there.now += passed
    [key] = raw_store.keys("broker:spent:*")
    raw_store.pexpire(key, int(raw_store.pttl(key)) - passed)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as other:

        async def show_there(parameters: dict[str, str], path: str) -> httpx2.Response:
            return await other.post(path, data={**FORM, **parameters})

        await refused(show_there, proof(assertion))
        # Its age is not what it is refused for.
        unspent = signer.assertion(client_id, iat=ends_at // 1000 - 2 * SKEW, exp=ends_at // 1000)
        assert (await show_there(proof(unspent), "/oauth/token")).status_code == 200
    await second.aclose(work_ends_within=1)
