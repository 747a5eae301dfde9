"""Key sets for tests: a cache of them whose keys are just names, and servers that publish some."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from broker.upstream.egress import Egress
from broker.upstream.key_sets import KeySets, KeySource
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import Asked, PracticeServer, json_answer

OPENID = "/.well-known/openid-configuration"
RFC8414 = "/.well-known/oauth-authorization-server"

Names = tuple[str, ...]
"""In the place of keys: what a set's members are called."""


def names(members: Sequence[object]) -> Names:
    """Read a set of this test."""
    return tuple(member["kid"] for member in members if isinstance(member, dict) and "kid" in member)


def published(*kids: str) -> bytes:
    """An answer with keys of these names."""
    return json_answer({"keys": [{"kid": kid} for kid in kids]})


class Time:
    """A clock that a test moves."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    """The cache's clock."""
    return Time()


@pytest.fixture
async def key_sets(time: Time) -> AsyncIterator[KeySets[Names]]:
    """A cache that knows nothing yet, with a way out to this machine."""
    egress = Egress(allow=[ip_network("127.0.0.0/8")])
    found = KeySets(egress, time, names)
    yield found
    await found.aclose()
    await egress.aclose()


def at(server: PracticeServer, path: str = "/jwks") -> KeySource:
    """A set at the server."""
    return KeySource(f"{server.origin}{path}")


async def anything(key_sets: KeySets[Names], source: KeySource) -> Names:
    """The keys, whichever they are."""
    return await key_sets.keys(source, lambda _: True)


async def named(key_sets: KeySets[Names], source: KeySource, kid: str) -> Names:
    """The keys, newer ones if this one is not among them."""
    return await key_sets.keys(source, lambda keys: kid in keys)


def to_hang(arrived: asyncio.Event | None = None) -> Callable[[Asked, asyncio.StreamWriter], Any]:
    """An answer that never comes."""

    async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
        if arrived:
            arrived.set()
        await asyncio.Event().wait()

    return silence


def issuer(server: PracticeServer, path: str = "") -> KeySource:
    """An issuer at the server."""
    return KeySource(f"{server.origin}{path}", of_issuer=True)
