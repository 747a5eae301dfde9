"""May this store be trusted with tokens? Learnt from INFO, which managed stores answer, too; CONFIG they refuse."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broker.vault.redis.store import Reply


class Memory(NamedTuple):
    """What a store's data takes, in bytes."""

    used: int
    """Without what the store itself doesn't count against its limit."""
    limit: int | None
    """Beyond it writes are refused. ``None``: there is none but the machine's."""


def memory_of(info: Mapping[str, str]) -> Memory:
    """How full a store with this INFO is."""
    used = int(info.get("used_memory", "0")) - int(info.get("mem_not_counted_for_evict", "0"))
    return Memory(max(0, used), int(info.get("maxmemory", "0")) or None)


def parse_info(reply: Reply) -> Mapping[str, str]:
    """The fields of an INFO answer."""
    lines = bytes(reply).decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def reasons_against(info: Mapping[str, str], *, wait_replicas: int) -> Sequence[str]:
    """Everything that speaks against keeping tokens in a store with this INFO; empty = fit.

    :param wait_replicas: how many replicas must be connected besides (``BROKER_STORE_WAIT_REPLICAS``).
    """
    reasons = []
    if info.get("loading", "0") != "0":
        reasons.append("the store is still loading its data")
    if info.get("role", "master") != "master":
        reasons.append("the store is a replica and refuses writes")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        reasons.append(
            f"the store evicts keys when its memory is full (maxmemory-policy {policy}); noeviction is needed"
        )
    if info.get("aof_enabled", "0") != "1":
        reasons.append("the store does not keep an append-only file (appendonly yes is needed), so it can lose tokens")
    if info.get("aof_last_write_status", "ok") != "ok":
        reasons.append("the store can't write its append-only file")
    replicas = int(info.get("connected_slaves", "0"))
    if replicas < wait_replicas:
        reasons.append(
            f"{replicas} replicas are connected to the store, BROKER_STORE_WAIT_REPLICAS asks for {wait_replicas}"
        )
    return reasons
