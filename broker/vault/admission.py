"""How many requests an endpoint sees at once from all replicas, and until when it is left alone.

A slot is a lease: whoever dies in the middle of a request gives it back when its time is over. Pauses and slots are
measured by the store's clock, so replicas whose clocks differ agree on them. Both keys of an endpoint vanish by
themselves when nothing happens there any more.
"""

from dataclasses import dataclass
from typing import Final, Literal

from broker.vault import names, scripts
from broker.vault.redis.store import Store

How = Literal["well", "failed", "refused", ""]
"""How a request went. ``failed`` counts towards a pause, ``refused`` begins one, an empty one says nothing."""

_FAILURES: Final = 5
"""In a row, that begin a pause."""
_SHORTEST_PAUSE: Final = 1_000
_LONGEST_PAUSE: Final = 300_000
"""Also where the provider names a longer one: it may mean one connection, and one request finds out."""
_REMEMBERED: Final = 600_000
"""Milliseconds after which failures, and the length of the last pause, are forgotten."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One request may be under way."""

    provider: str
    where: str
    holder: str
    since: int
    """By the store's clock (ms)."""


@dataclass(frozen=True, slots=True)
class Full:
    """All slots are taken."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nobody asks the endpoint now."""

    milliseconds: int
    """Until the pause is over."""


class Admission:
    """Gives out slots at endpoints, and notes how the requests went."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def enter(
        self, provider: str, where: str, *, holder: str, slots: int, milliseconds: int, suspect: bool = False
    ) -> Slot | Full | Paused:
        """One of the endpoint's slots, if there is no pause and one is free; after a pause there is but one.

        :param holder: a name that nobody else uses.
        :param milliseconds: after which the slot is anybody's again, if it is not given back.
        :param suspect: the connection failed lately: after a pause others go first.
        """
        keys = [names.gate(provider, where), names.gate_state(provider, where)]
        answer, *number = await self._store.run(
            scripts.ADMIT, keys, [holder, slots, milliseconds, "1" if suspect else ""]
        )
        match answer:
            case b"in":
                return Slot(provider, where, holder, since=int(number[0]))
            case b"paused":
                return Paused(int(number[0]))
            case _:
                return Full()

    async def leave(self, slot: Slot, how: How, *, pause: int | None = None, trial: bool = False) -> int:
        """Give the slot back; answers how long a pause it begins (ms), 0 for none.

        ``well`` forgets all failures. A pause lasts as long as ``pause`` says, or one second and then twice as long
        each time; five minutes at most. A request that was under way when a pause began can only prolong it.

        :param trial: it was a trial, of many that somebody makes at once: its failure is worth a second's pause, and
            makes no later one longer. What the provider asks for holds all the same.
        """
        keys = [names.gate(slot.provider, slot.where), names.gate_state(slot.provider, slot.where)]
        asked = "" if pause is None else min(pause, _LONGEST_PAUSE)
        limits = (_FAILURES, _SHORTEST_PAUSE, _LONGEST_PAUSE, _REMEMBERED)
        reply = await self._store.run(
            scripts.ADMIT_SETTLE, keys, [slot.holder, slot.since, how, asked, *limits, "1" if trial else ""]
        )
        return int(reply)

    async def give_up(self, provider: str, where: str, holder: str) -> None:
        """Give a slot back that ``holder`` may or may not have got."""
        await self._store.execute("ZREM", names.gate(provider, where), holder)
