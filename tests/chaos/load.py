"""``kill -9`` of the store under a load of refreshes: what a caller was told of is there afterwards."""

import asyncio
from dataclasses import dataclass, field

from tests.chaos.cases import Store
from tests.chaos.fleet import LIFE, Connected, Fleet
from tests.chaos.judge import Finding, Verdict, judge
from tests.chaos.service import Answer
from tests.chaos.waiting import become

ROTATION = "strict"
"""The provider that takes each refresh token once: whatever the store forgets can't be had again."""
_CONNECTIONS = 50
_PAUSE = 0.2
"""Seconds between two refreshes of a connection."""


@dataclass
class _Refreshed:
    connected: Connected
    generation: int = 1
    """The latest that a caller was told of."""
    told: int = 0
    """How often a caller was told of a later one."""
    odd: list[Answer] = field(default_factory=list)


class Load:
    """Refreshes many connections again and again, through two brokers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._brokers = [fleet.other.http, fleet.victims[0].http]
        self._refreshed: list[_Refreshed] = []
        self._stopping = asyncio.Event()
        self._turned_away = 0

    @property
    def told(self) -> int:
        """How many rotations callers were told of."""
        return sum(each.told for each in self._refreshed)

    async def run(self, *, kills: int) -> list[Finding]:
        """What became of each connection."""
        connected = await self._fleet.connect(ROTATION, _CONNECTIONS, life=LIFE)
        self._refreshed = [_Refreshed(each) for each in connected]
        tasks = [asyncio.create_task(self._refresh_on(number, each)) for number, each in enumerate(self._refreshed)]
        for _ in range(kills):
            await self._until_told(self.told + 2 * _CONNECTIONS)
            turned_away = self._turned_away
            await self._fleet.store.befall(Store.KILLED)
            await become(lambda: self._turned_away > turned_away, "somebody at the dead store")  # noqa: B023
            await self._fleet.store.recover(Store.KILLED)
        await self._until_told(self.told + _CONNECTIONS)
        self._stopping.set()
        await asyncio.gather(*tasks)
        return list(await asyncio.gather(*map(self._judge, self._refreshed)))

    async def _until_told(self, count: int) -> None:
        await become(lambda: self.told >= count, "refreshes under load", 40)

    async def _refresh_on(self, number: int, each: _Refreshed) -> None:
        while not self._stopping.is_set():
            broker = self._brokers[number % len(self._brokers)]
            number += 1
            answer = await self._fleet.service.fetch(
                broker, each.connected.id, each.connected.rotation, stale_generation=each.generation
            )
            if answer.served and answer.generation > each.generation:
                each.generation, each.told = answer.generation, each.told + 1
            elif answer.later:
                self._turned_away += 1
            else:
                each.odd.append(answer)
            await asyncio.sleep(_PAUSE)

    async def _judge(self, each: _Refreshed) -> Finding:
        if each.odd:
            odd = each.odd[0]
            return Finding(Verdict.LOST, f"somebody was answered {odd.status} {odd.code}, generation {odd.generation}")
        shown = await self._fleet.service.show(self._brokers[0], each.connected.id)
        if shown.get("generation", 0) < each.generation:
            return Finding(
                Verdict.LOST, f"generation {each.generation} was acknowledged, {shown.get('generation')} is there"
            )
        return await judge(self._fleet.service, each.connected, self._brokers, reasons=())
