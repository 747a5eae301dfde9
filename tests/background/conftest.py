"""Refreshing ahead, by one replica or two."""

from collections.abc import AsyncIterator

import pytest

from broker.app.heart import Heart, build_heart
from broker.background.refreshing import RefreshAhead
from broker.providers import Registry
from broker.settings import Settings
from tests.background.ahead import chore_of
from tests.world import FakeClock


@pytest.fixture
async def ahead(heart: Heart) -> AsyncIterator[RefreshAhead]:
    """The chore of one replica."""
    chore = chore_of(heart)
    yield chore
    await chore.aclose()


@pytest.fixture
async def replica(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A second replica."""
    replica = build_heart(settings, providers, clock)
    yield replica
    await replica.aclose(work_ends_within=5)
