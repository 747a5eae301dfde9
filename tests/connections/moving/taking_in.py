"""Rows, and taking them in as the command does."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.connections.moving.order import Imported, Order, Report, Stop
from broker.connections.moving.row import Row, RowFault
from broker.errors import StoreUnavailable
from broker.models.connection import Connection
from tests.journey import snapshot
from tests.kinds.cases import made_by

Rows = Sequence[Row | RowFault]


def silent(_step: str, _done: int, _of: int | None) -> None:
    """Nobody looks."""


def key_row(number: int, key: str | None = None, **changes: Any) -> Row:
    """A row with an API key; one that looks right, unless another is given."""
    credentials = {"api_key": key or f"pk_practice_{number:06d}"}
    row = Row(number=number, provider="practice-key", subject=f"user {number}", credentials=credentials)
    return replace(row, source_id=f"theirs-{number}", **changes)


def key_rows(sandbox: httpx2.Client, count: int) -> list[Row | RowFault]:
    """Rows with keys that the provider accepts."""
    return [key_row(number, made_by(sandbox, "api_key")["api_key"]) for number in range(1, count + 1)]


def oauth_rows(sandbox: httpx2.Client, count: int, provider: str = "practice-strict", **more: Any) -> list[Row]:
    """Rows with a grant each; ``more`` credentials beside the tokens."""
    grants = sandbox.post("/control/grants", json={"count": count}).raise_for_status().json()
    return [
        Row(number=number, provider=provider, subject=f"user {number}", credentials={**tokens, **more})
        for number, tokens in enumerate(grants, 1)
    ]


def order_of(rows: Rows, **options: Any) -> Order:
    """The order to take them in; of the same rows the same file."""
    return Order(hashlib.sha256(repr([(row.number, row) for row in rows]).encode()).digest(), "rows.jsonl", **options)


async def take(
    heart: Heart, rows: Rows, *, order: Order | None = None, stop: Stop | None = None, **options: Any
) -> Report:
    """Take the rows in."""

    def look() -> Iterator[Row | RowFault]:
        return iter(rows)

    return await heart.moving.imports.run(order or order_of(rows, **options), look, silent, stop or Stop())


async def listed(heart: Heart, report: Report, rows: Rows) -> list[Imported]:
    """Which row became which connection."""
    batch = await heart.moving.batches.read(report.batch or "")
    assert batch is not None
    return list(heart.moving.imports.listed(report, order_of(rows), lambda: iter(rows), batch))


async def made(heart: Heart, report: Report, rows: Rows) -> list[Connection]:
    """The connections of the rows, read as anybody reads them."""
    found = [await heart.records.read(one.connection_id) for one in await listed(heart, report, rows)]
    assert all(found)
    return [connection for connection in found if connection is not None]


async def stored(heart: Heart, raw_store: redis.Redis) -> dict[bytes, Any]:
    """Every key with its value and its end, but for who may ask a provider now: that goes by itself."""
    await heart.store.execute("PING")
    return {key: value for key, value in snapshot(raw_store).items() if b"{gate:" not in key}


async def all_of(heart: Heart, tenant: str = "default") -> list[Connection]:
    """Everything that the tenant's list shows."""
    found: list[Connection] = []
    cursor: str | None = None
    while True:
        page, cursor = await heart.directory.page(
            tenant, subject=None, wanted=lambda _: True, cursor=cursor, limit=1000
        )
        found += page
        if cursor is None:
            return found


def die_after(patch: pytest.MonkeyPatch, heart: Heart, commands: int) -> None:
    """After so many commands the store answers no more."""
    left = iter(range(commands))
    kind = type(heart.store)
    execute, run, commit = kind.execute, kind.run, kind.commit

    async def counted_execute(self: Any, *parts: Any) -> Any:
        if next(left, None) is None:
            raise StoreUnavailable("gone")
        return await execute(self, *parts)

    async def counted_run(self: Any, *parts: Any) -> Any:
        if next(left, None) is None:
            raise StoreUnavailable("gone")
        return await run(self, *parts)

    async def counted_commit(self: Any, *parts: Any) -> Any:
        if next(left, None) is None:
            raise StoreUnavailable("gone")
        return await commit(self, *parts)

    patch.setattr(kind, "commit", counted_commit)
    patch.setattr(kind, "execute", counted_execute)
    patch.setattr(kind, "run", counted_run)
