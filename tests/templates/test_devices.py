"""Entries whose provider has a device grant of its own, against it: codes, the wait in its words, yes and no."""

from collections.abc import AsyncIterator, Callable

import pytest

from broker.clock import system_clock
from broker.upstream.device_grant import DeviceCodes, Waiting
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from tests.templates.played import Played
from tests.templates.quirks import known

DEVICES = [name for name, quirks in known().items() if quirks.part("device")]
"""Those whose entry makes use of it; others go by the broker's own page."""


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The calls that the heart makes."""
    async with Upstream(Egress(), system_clock) as calls:
        yield calls


async def begin(upstream: Upstream, played: Played) -> DeviceCodes:
    """A device login for all that devices may ask for."""
    return await upstream.start_device(played.provider, played.quirks.parameters, scopes=played.device_scopes)


async def poll(upstream: Upstream, played: Played, codes: DeviceCodes) -> TokenSet | Waiting:
    """One poll of that login."""
    return await upstream.poll_device(
        played.provider, played.quirks.parameters, device_code=codes.device_code, scopes=played.device_scopes
    )


@pytest.mark.parametrize("name", DEVICES)
async def test_a_machine_gets_tokens_once_its_person_agrees(
    upstream: Upstream, play: Callable[[str], Played], name: str
) -> None:
    """Pending is no error, in whatever words it comes; then there are tokens for what was asked."""  # D2
    played = play(name)
    codes = await begin(upstream, played)
    assert await poll(upstream, played, codes) is Waiting.PENDING
    played.order(approve_device=codes.user_code)
    tokens = await poll(upstream, played, codes)
    assert isinstance(tokens, TokenSet)
    assert set(tokens.scopes) == set(played.device_scopes)


@pytest.mark.parametrize("name", DEVICES)
async def test_a_person_who_says_no_ends_the_wait(upstream: Upstream, play: Callable[[str], Played], name: str) -> None:
    """Not a reason to go on polling, nor a fault of the provider."""  # D2
    played = play(name)
    codes = await begin(upstream, played)
    played.order(deny_device=codes.user_code)
    assert await poll(upstream, played, codes) is Waiting.DENIED
