"""Keys that hold what nobody put there in that form: found out, said, and passed over.

What works through all buckets comes past each of their keys. One of another type is a fault of that key's, for somebody
to look at; it must not keep the others from their turn.
"""

from collections.abc import Awaitable
from typing import Literal

import structlog

from broker.errors import StoreUnavailable
from broker.vault.redis.store import Reply, Store

log = structlog.get_logger(__name__)


async def unless_foreign(
    store: Store, key: str, kind: Literal["stream", "zset"], reply: Awaitable[Reply], *, instead: Reply
) -> Reply:
    """``reply`` of a command on ``key``, or ``instead`` where the key is not of this kind.

    :raises StoreUnavailable: the command failed for another reason.
    """
    try:
        return await reply
    except StoreUnavailable:
        found = await store.execute("TYPE", key)
        if found in {kind.encode(), b"none"}:
            raise
    log.error("store.foreign_key", key=key, kind=kind)
    return instead
