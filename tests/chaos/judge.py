"""What is left of a connection, found out as a service would: by fetching, calling the provider, and refreshing."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import httpx2

from tests.chaos.fleet import Connected
from tests.chaos.service import Answer, Service

_PATIENCE = 30.0
"""Seconds that a broker may say 503, with Retry-After, when everything is well again: a dead one's lease runs that long
and half as long again, and a refresh waits for it."""


class Verdict(StrEnum):
    """What became of a connection."""

    SURVIVED = "survived"
    """Its token works at the provider, a refresh works, and so does the token that this gives."""
    DECLARED = "declared"
    """The fetch says ``reauth_required``, and the connection says so too, with its reason."""
    LOST = "lost"
    """Anything else."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, and how it came about."""

    verdict: Verdict
    why: str = ""


async def judge(
    service: Service, connected: Connected, brokers: Sequence[httpx2.AsyncClient], reasons: Collection[str]
) -> Finding:
    """Ask these brokers in turn until one of them says something definite.

    :param reasons: what may be said if the connection is declared over.
    """
    finding = await _judge_once(service, connected, brokers, reasons)
    if finding.verdict is Verdict.DECLARED:
        # What is declared stays declared, or a late commit has healed it; it doesn't flicker.
        again = await _judge_once(service, connected, brokers, reasons)
        return again if again.verdict is not Verdict.DECLARED else finding
    return finding


async def _judge_once(
    service: Service, connected: Connected, brokers: Sequence[httpx2.AsyncClient], reasons: Collection[str]
) -> Finding:
    first, second = brokers
    fetched = await _definite(service, connected, first, {})
    if fetched.over:
        return await _declared(service, connected, second, reasons)
    if not fetched.served:
        return Finding(Verdict.LOST, f"a fetch: {_said(fetched)}")
    refreshed = await _definite(service, connected, second, {"stale_generation": fetched.generation})
    if not refreshed.served:
        return Finding(Verdict.LOST, f"a refresh after a fetch that was served: {_said(refreshed)}")
    if refreshed.generation <= fetched.generation:
        return Finding(Verdict.LOST, f"a refresh left generation {fetched.generation} as it was")
    return Finding(Verdict.SURVIVED)


async def _declared(
    service: Service, connected: Connected, broker: httpx2.AsyncClient, reasons: Collection[str]
) -> Finding:
    shown = await service.show(broker, connected.id)
    status = shown.get("status")
    fault = (shown.get("health") or {}).get("last_error") or {}
    if status != "reauth_required" or fault.get("code") not in reasons:
        return Finding(Verdict.LOST, f"a fetch says reauth_required, the connection {status} because of {fault}")
    return Finding(Verdict.DECLARED, str(fault["code"]))


async def _definite(service: Service, connected: Connected, broker: httpx2.AsyncClient, body: dict[str, int]) -> Answer:
    until = time.monotonic() + _PATIENCE
    while True:
        answer = await service.fetch(broker, connected.id, connected.rotation, **body)
        if not answer.later or time.monotonic() > until:
            return answer
        await asyncio.sleep(answer.pause)


def _said(answer: Answer) -> str:
    if answer.status == 200:
        return f"served a token of generation {answer.generation} that the provider refuses"
    if answer.status == 503:
        return "still 503" if answer.later else "503 without Retry-After"
    return f"{answer.status} {answer.code}" if answer.status else "no answer"
