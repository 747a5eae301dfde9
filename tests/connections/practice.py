"""The practice provider seen by tests of refreshing: how it is told to behave, and what it was asked."""

import httpx2


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
