"""The practice provider seen by tests: how it is told to behave, what it was asked, and what waits for it."""

import httpx2
import redis

from broker.vault import names


def behave(sandbox: httpx2.Client, **knobs: object) -> None:
    """Turn knobs of the provider: ``rotation``, ``token_delay_ms``, ``revoke_grants`` …"""
    sandbox.post("/control", json=knobs).raise_for_status()


def refreshes(sandbox: httpx2.Client) -> tuple[int, int]:
    """How many refresh requests the provider has granted, and how many refused."""
    counted = sandbox.get("/counters").json()["token"]["refresh_token"]
    return counted["ok"], counted["error"]


def revocations(sandbox: httpx2.Client) -> int:
    """How many revocations the provider was asked for."""
    return int(sandbox.get("/counters").json()["revoke"])


def queued(raw_store: redis.Redis, connection_id: str) -> bool:
    """Whether anything of an ended connection waits to be given back: the sealed job, or that it is due."""
    due = raw_store.zscore(names.due(connection_id), f"revoke:{connection_id}")
    return bool(raw_store.exists(names.revocation(connection_id))) or due is not None
