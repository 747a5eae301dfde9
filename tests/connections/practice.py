"""The practice provider seen by tests: how it is told to behave, what it was asked, and what waits for it."""

import asyncio
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.vault import names


def behave(sandbox: httpx2.Client, **knobs: object) -> None:
    """Turn knobs of the provider: ``rotation``, ``token_delay_ms``, ``revoke_grants`` …"""
    sandbox.post("/control", json=knobs).raise_for_status()


def hold_answers(sandbox: httpx2.Client) -> None:
    """Let the token endpoint do what it is asked for, and keep its answers until :func:`let_answers_go`."""
    behave(sandbox, hold_token_answers=True)


def let_answers_go(sandbox: httpx2.Client) -> None:
    """End :func:`hold_answers`; what was held is answered now."""
    behave(sandbox, hold_token_answers=False)


def late_answers(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What is answered to the refreshes of one process arrives there once the event is set; others are served."""
    arrive = asyncio.Event()
    refresh = heart.upstream.refresh

    async def late(*arguments: Any, **options: Any) -> Any:
        try:
            return await refresh(*arguments, **options)
        finally:
            await arrive.wait()

    monkeypatch.setattr(heart.upstream, "refresh", late)
    return arrive


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
