"""What tests of the browser flow look at: what the provider was asked, and what lies in the store."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx2
import redis

from broker.vault import names
from tests.world import ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]
"""The ``make_client`` fixture."""

NOTHING = (0, 0)
"""No code was brought to the provider."""


def exchanges(sandbox: httpx2.Client) -> tuple[int, int]:
    """How many authorization codes the provider redeemed, and how many it refused."""
    counted = sandbox.get("/counters").json()["token"]["authorization_code"]
    return counted["ok"], counted["error"]


def snapshot(store: redis.Redis) -> dict[bytes, tuple[Any, Any]]:
    """Every key with its value and the moment it disappears: equal only if nothing was written.

    But for the counters of rate limits: a look is counted, too.
    """
    counters = names.counter("").encode()
    keys = [key for key in cast("list[bytes]", store.keys("*")) if not key.startswith(counters)]
    return {key: (_value(store, key), store.pexpiretime(key.decode())) for key in keys}


def _value(store: redis.Redis, key: bytes) -> Any:
    # The serialized form of a hash has its fields in an order that reading it can change.
    return store.hgetall(key.decode()) if store.type(key) == b"hash" else store.dump(key)


def written(store: redis.Redis) -> dict[bytes, tuple[Any, Any]]:
    """:func:`snapshot` without what any authentication leaves behind: counted failures, and spent assertions."""
    return {key: value for key, value in snapshot(store).items() if b":spent:" not in key}


def everything_in(store: redis.Redis) -> bytes:
    """All keys and values of the store as one text to search in."""
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": store.get,
        b"hash": store.hgetall,
        b"set": store.smembers,
        b"zset": lambda key: store.zrange(key, 0, -1),
        b"stream": store.xrange,
    }
    found: list[bytes] = []

    def add(value: Any) -> None:
        match value:
            case bytes():
                found.append(value)
            case dict():
                add(list(value.items()))
            case list() | tuple() | set():
                for part in value:
                    add(part)

    for key in cast("list[bytes]", store.keys("*")):
        kind = cast("bytes", store.type(key))
        add([key, readers[kind](key)])
    return b"\n".join(found)


async def session_of(app: ServiceClient, session_id: str) -> dict[str, Any]:
    """The session as its app sees it, with a broker token of this moment."""
    now = ServiceClient(app.http, app.client_id, app.secret)
    answer = await now.call("GET", f"/v1/connect-sessions/{session_id}")
    seen: dict[str, Any] = answer.raise_for_status().json()
    return seen
