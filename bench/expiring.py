"""Ten thousand connections expire in the same minute: what the provider sees of it, and what other callers feel.

One ``broker serve`` with one worker and its embedded store, so that the process that refreshes is the one that serves.
The connections are written into the store directly, as clones of one that a person made, and all are due within one
minute, ``refresh.ahead`` before their end: the worst case, for the broker itself spreads due times over more than that.
All hold the same refresh token, which the practice provider (rotation ``none``) accepts again and again; it takes
100 ms for each answer. The intent, the commit and the audit event of each refresh are as with any other.

Meanwhile a few callers fetch tokens of other connections, which are fresh, as they did before when nothing was due.
"""

import asyncio
import gc
import secrets
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from bench.calls import authorization, connection_of_person
from bench.rounds import Effort
from bench.world import World, world
from broker.app.heart import Heart, build_heart
from broker.models.connection import Connection, Credential, Health
from broker.models.event import Event
from broker.models.ids import new_id
from broker.providers import load_providers
from broker.settings import Settings

_MANY, _QUICK = 10_000, 1_000
_OTHERS: Final = 50
_CALLERS: Final = 4
_PAUSE: Final = 0.02
"""Seconds between two fetches of a caller."""
_IDLE_SECONDS: Final = 8
_DUE_IN: Final = (15, 75)
"""Seconds from now; the writing takes most of the first ones."""
_ANSWERS_AFTER_MS: Final = 100
_AT_ONCE: Final = 32
"""Token requests that the provider may be sent at a time: twice the default, so that this is not what limits it."""
_WRITTEN_AT_ONCE: Final = 200
_PATIENCE: Final = 900
"""Seconds until it is given up."""


def measure(effort: Effort) -> dict[str, Any]:
    """Answers what the provider saw, and how long fetches took before and meanwhile."""
    report = asyncio.run(_measure(_QUICK if effort.quick else _MANY))
    refreshed, idle, meanwhile = (
        report["refreshes_at_the_provider"],
        report["fetch_ms_idle"],
        report["fetch_ms_meanwhile"],
    )
    figures = {
        f"{report['connections']:,} connections due within a minute": (
            f"{refreshed['ok']:,} refreshed, {refreshed['error']} refused, in {report['seconds_until_all_fresh']:.0f} s"
        ),
        "most at once at the provider, which takes 100 ms": (
            f"{report['most_at_once']}; it allows {report['cap']}, and refreshing ahead takes three quarters"
        ),
        "p50 and p99 of other fetches meanwhile": f"{meanwhile['p50']} ms, {meanwhile['p99']} ms",
        "p50 and p99 of the same when nothing is due": f"{idle['p50']} ms, {idle['p99']} ms",
    }
    return {"figures": figures, **report}


async def _measure(many: int) -> dict[str, Any]:
    with (
        world(rotation="none", at_once=_AT_ONCE) as running,
        httpx2.Client(base_url=running.broker_url, trust_env=False) as http,
    ):
        headers = authorization(running, http)
        template_id = connection_of_person(http, headers)
        control = {"token_delay_ms": _ANSWERS_AFTER_MS, "reset_counters": True}
        httpx2.post(f"{running.provider_url}/control", json=control, trust_env=False).raise_for_status()
        heart = _heart(running)
        try:
            others = await _clone(heart, template_id, _OTHERS, due_in=(3000, 3000))
            gc.collect()
            gc.freeze()
            idle = await _fetches(running, headers, others, asyncio.sleep(_IDLE_SECONDS))
            made = time.monotonic()
            await _clone(heart, template_id, many, due_in=_DUE_IN)
            written = time.monotonic() - made
            await asyncio.sleep(max(0.0, _DUE_IN[0] - 2 - written))
            began = time.monotonic()
            meanwhile = await _fetches(running, headers, others, _until_refreshed(running, many))
            seconds = time.monotonic() - began
        finally:
            await heart.aclose(work_ends_within=5)
        counters = httpx2.get(f"{running.provider_url}/counters", trust_env=False).json()
    cap = heart.providers.get("practice").refresh.max_concurrent
    return {
        "connections": many,
        "due_within_seconds": 60,
        "seconds_until_all_fresh": round(seconds, 1),
        "refreshes_per_second": round(many / seconds, 1),
        "refreshes_at_the_provider": counters["token"]["refresh_token"],
        "cap": cap,
        "most_at_once": counters.get("token_most_at_once", "not counted"),
        "fetches": {"idle": len(idle), "meanwhile": len(meanwhile)},
        "fetch_ms_idle": _percentiles(idle),
        "fetch_ms_meanwhile": _percentiles(meanwhile),
        "p99_ratio": round(_percentiles(meanwhile)["p99"] / _percentiles(idle)["p99"], 2),
    }


def _heart(running: World) -> Heart:
    """A replica's parts in this process, on the same store."""
    providers = Path(running.environment["BROKER_PROVIDERS_FILE"])
    settings = Settings(data_dir=running.data_dir, providers_file=providers)
    return build_heart(settings, load_providers(providers, {}))


async def _clone(heart: Heart, template_id: str, count: int, *, due_in: tuple[float, float]) -> list[str]:
    """So many connections like the template, in use, due evenly within that range (seconds from now)."""
    found = await heart.records.read_with_credential(template_id)
    assert found is not None
    template, credential = found
    assert credential is not None
    now, ahead = heart.clock(), heart.providers.get(template.provider).refresh.ahead * 1000
    soonest, apart = due_in[0], (due_in[1] - due_in[0]) / count
    made: list[str] = []
    for first in range(0, count, _WRITTEN_AT_ONCE):
        clones = [
            _like(template, now=now, due=now + int((soonest + number * apart) * 1000), ahead=ahead)
            for number in range(first, min(first + _WRITTEN_AT_ONCE, count))
        ]
        await asyncio.gather(*(_write(heart, clone, credential) for clone in clones))
        made += [clone.id for clone in clones]
    return made


def _like(template: Connection, *, now: int, due: int, ahead: int) -> Connection:
    return replace(
        template,
        id=new_id("con"),
        grant_id=new_id("grant"),
        subject=new_id("bench"),
        created_at=now,
        last_used_at=now,
        access_token_expires_at=due + ahead,
        health=Health(last_refreshed_at=now, next_refresh_at=due),
    )


async def _write(heart: Heart, connection: Connection, credential: Credential) -> None:
    event = Event("connection.created", connection.tenant, connection.created_at, connection.id)
    await heart.records.create(connection, credential, event)


async def _until_refreshed(running: World, many: int) -> None:
    async with asyncio.timeout(_PATIENCE), httpx2.AsyncClient(trust_env=False) as http:
        while True:
            counters = (await http.get(f"{running.provider_url}/counters")).json()
            if counters["token"]["refresh_token"]["ok"] >= many:
                return
            await asyncio.sleep(0.5)


async def _fetches(
    running: World, headers: dict[str, str], ids: Sequence[str], for_as_long_as: Awaitable[None]
) -> list[float]:
    """How long fetches took (seconds), by callers that come again and again until something is over."""
    took: list[float] = []
    callers = [asyncio.create_task(_call(running, headers, ids, took)) for _ in range(_CALLERS)]
    try:
        await for_as_long_as
    finally:
        for caller in callers:
            caller.cancel()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    return took


async def _call(running: World, headers: dict[str, str], ids: Sequence[str], took: list[float]) -> None:
    """One caller on one connection; a client library would take longer than what is measured."""
    address = urlsplit(running.broker_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        while True:
            request = (
                f"POST /v1/connections/{secrets.choice(ids)}/token HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Authorization: {headers['Authorization']}\r\nContent-Length: 0\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            took.append(time.perf_counter() - began)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"a fetch was answered {head.partition(b' ')[2][:3]!r}")
            await asyncio.sleep(_PAUSE)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    in_order = sorted(seconds)
    return {f"p{part}": round(in_order[len(in_order) * part // 100] * 1000, 2) for part in (50, 90, 99)}
