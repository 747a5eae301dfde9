"""What a store's error replies mean to callers: each is a 503 that says after how long trying again makes sense."""

from typing import Final

from redis.exceptions import ResponseError

from broker.errors import StoreUnavailable

FAILOVER_SECONDS: Final = 3
"""About how long one takes: what callers are told to wait while a primary or a node is missing."""

_PATIENCE: Final = {
    # Until an operator has made room, or mended the disk.
    "OOM": 5,
    "MISCONF": 5,
    "LOADING": 5,
    "READONLY": FAILOVER_SECONDS,
    "MASTERDOWN": FAILOVER_SECONDS,
    "CLUSTERDOWN": FAILOVER_SECONDS,
    "NOREPLICAS": FAILOVER_SECONDS,
    "UNBLOCKED": FAILOVER_SECONDS,
}
"""Error code → seconds; others pass in one."""


def refused(error: ResponseError) -> StoreUnavailable:
    """``error`` as its caller is told. The command did not run, or failed by itself; the connection is fine."""
    # The reply's first word is the store's own code (OOM, READONLY, MISCONF, WRONGTYPE); the rest may quote data.
    # For codes that redis-py has a class for it cuts that word off and keeps it aside.
    code = error.status_code or str(error).partition(" ")[0]
    return StoreUnavailable(f"the store refused a command ({code})", retry_after=_PATIENCE.get(code, 1))
