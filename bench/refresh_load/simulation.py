"""One provider, its connections, and the broker's background work on them, for hours in seconds.

The work is the broker's own: ``background.refreshing`` with its lanes, ``connections.turns`` and
``connections.schedule``, on a clock that jumps. In place of store and network there are ``fleet`` and ``provider``.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from bench.refresh_load.fleet import Fleet, number_of
from bench.refresh_load.people import Usage
from bench.refresh_load.provider import Gate, TokenEndpoint
from bench.refresh_load.virtual import run_virtually
from broker.background.refreshing import RefreshAhead
from broker.connections.obtaining import PATIENCE
from broker.connections.turns import Turns
from broker.errors import BrokerError, ProviderPaused
from broker.providers import Provider, Registry, load_providers

BEGINS: Final = 1_700_006_400_000
"""Milliseconds: a midnight, at which every simulation begins."""
REST_WHEN_BUSY, REST_WHEN_IDLE = 0.1, 1.0
"""Seconds between two steps, as ``background.chores`` has it."""
_WHERE: Final = "https://simulated.example/token"
_ENTRY: Final = """
providers:
  simulated:
    display_name: Simulated
    type: oauth2
    authorization_endpoint: https://simulated.example/authorize
    token_endpoint: https://simulated.example/token
    client_id: simulated
    client_secret: simulated
    grant_types: [authorization_code, refresh_token]
    scopes: {profile: See your name}
    refresh: {rotation: none, max_concurrent: %d}
"""


@dataclass(frozen=True)
class Plan:
    """What is simulated. Times in seconds where nothing else is said."""

    members: Callable[[random.Random], Sequence[tuple[Usage, int | None]]]
    """How connections are used, and when they got their token (ms; ``None``: in the first minute)."""
    hours: float
    lifetime: int = 3600
    max_concurrent: int = 16
    answers_after: float = 0.2
    outage: tuple[float, float] | None = None
    """Hours from the beginning."""
    refused_at_once: bool = False
    spread: bool = True
    """Whether due times are spread at random."""
    asked_every: int | None = 60
    """How often a caller comes whose token is over; ``None``: callers wait for the background work."""
    sampled_every: int = 60
    seed: int = 1


@dataclass
class Seen:
    """What came of it."""

    refreshed: list[float] = field(default_factory=list)
    """Seconds from the beginning at which the provider answered."""
    in_vain: list[float] = field(default_factory=list)
    """Seconds at which it was asked while it was down."""
    by_number: dict[int, list[float]] = field(default_factory=dict)
    """The answers of each connection."""
    late: list[tuple[float, float]] = field(default_factory=list)
    """When (second) a token was over that somebody used, and how long it took until there was a new one."""
    came_back: int = 0
    """Connections that nobody had kept fresh, whose first caller waited for one refresh."""
    backlog: list[tuple[float, int, int]] = field(default_factory=list)
    """Second, how many are due, and how many are in use with a token that is over."""
    most_at_once: int = 0


def simulate(plan: Plan) -> Seen:
    """Run it to its end. The same plan comes to the same."""
    # The broker draws from the module's own generator.
    random.seed(plan.seed)
    with TemporaryDirectory() as folder:
        entry = Path(folder) / "providers.yaml"
        entry.write_text(_ENTRY % plan.max_concurrent)
        providers = load_providers(entry, {})
    return run_virtually(_Simulation(plan, providers).run())


class _Simulation:
    """In place of the ``Refresher`` for the background work, and all around it."""

    def __init__(self, plan: Plan, providers: Registry) -> None:
        self._plan = plan
        self._providers = providers
        self._provider: Provider = providers.get("simulated")
        self._seen = Seen()
        chance = random.random if plan.spread else _always_zero
        self._fleet = Fleet(self._provider, lifetime=plan.lifetime, clock=self._clock, chance=chance)
        down = (
            [(BEGINS + int(plan.outage[0] * 3_600_000), BEGINS + int(plan.outage[1] * 3_600_000))]
            if plan.outage
            else []
        )
        self._endpoint = TokenEndpoint(
            self._clock,
            answers_after=plan.answers_after,
            outages=down,
            refuses_at_once=plan.refused_at_once,
            timeout=self._provider.timeout,
        )
        self._gate = Gate(self._clock)
        self._turns = Turns(cast("Any", self._gate), self._clock)
        self._callers: set[asyncio.Task[None]] = set()
        self._asking: set[int] = set()
        self._came_back: set[int] = set()
        """Those whose token was over when they were used again."""

    def _clock(self) -> int:
        return BEGINS + round(self._second() * 1000)

    def _second(self) -> float:
        return asyncio.get_running_loop().time()

    async def run(self) -> Seen:
        """All of it."""
        await self._populate()
        fleet = cast("Any", self._fleet)
        ahead = RefreshAhead(fleet, fleet, cast("Any", self), self._providers, self._clock)
        sampling = asyncio.create_task(self._sample())
        try:
            while self._second() < self._plan.hours * 3600:
                done = await ahead.step()
                await asyncio.sleep(REST_WHEN_BUSY if done else REST_WHEN_IDLE)
        finally:
            sampling.cancel()
            await ahead.aclose()
            for caller in self._callers:
                caller.cancel()
        self._seen.refreshed = [(at - BEGINS) / 1000 for at in self._endpoint.answered]
        self._seen.in_vain = [(at - BEGINS) / 1000 for at in self._endpoint.in_vain]
        self._seen.most_at_once = self._endpoint.most_at_once
        return self._seen

    async def refresh(self, connection_id: str, generation: int, **_others: object) -> None:
        """As ``connections.refresh``: take a turn, ask, note what came of it."""
        number = number_of(connection_id)
        member = self._fleet.members[number]
        patience = self._provider.timeout + PATIENCE
        try:
            async with self._turns.turn(self._provider, where=_WHERE, patience=patience, suspect=member.failures > 0):
                if member.generation != generation:
                    return
                await self._endpoint.refresh()
        except ProviderPaused:
            raise
        except BrokerError as error:
            self._fleet.fail(number, error)
            raise
        now = self._clock()
        if number in self._came_back:
            self._came_back.discard(number)
        elif member.expires_at < now and member.usage.between(member.expires_at, now):
            self._seen.late.append(((member.expires_at - BEGINS) / 1000, (now - member.expires_at) / 1000))
        self._seen.by_number.setdefault(number, []).append(self._second())
        self._fleet.succeed(number)

    async def _populate(self) -> None:
        members = self._plan.members(chances(self._plan))
        new = sum(issued_at is None for _, issued_at in members)
        for usage, issued_at in members:
            if issued_at is None:
                await asyncio.sleep(60 / new)
            number = self._fleet.add(usage, issued_at=issued_at)
            for begin in usage.begins():
                if begin > self._clock():
                    asyncio.get_running_loop().call_at((begin - BEGINS) / 1000, self._come, number)

    def _come(self, number: int) -> None:
        """Somebody begins to use a connection; if its token is over, they wait for a new one."""
        member, now = self._fleet.members[number], self._clock()
        if member.expires_at > now:
            if member.planned_at is None or member.planned_at > member.expires_at:
                # It was found idle, so its token ends while it is used.
                at = (member.expires_at - BEGINS) / 1000
                asyncio.get_running_loop().call_at(at, self._come, number)
            return
        if not member.usage.between(now, now):
            return
        self._seen.came_back += 1
        self._came_back.add(number)
        self._ask(number)

    def _ask(self, number: int) -> None:
        """A fetch of a token that is over. If it ends in a 503, they come again."""
        member = self._fleet.members[number]
        if member.expires_at > self._clock() or number in self._asking or self._gate.paused:
            return
        self._asking.add(number)
        caller = asyncio.create_task(self._fetch(number, member.generation))
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

    async def _fetch(self, number: int, generation: int) -> None:
        with suppress(BrokerError):
            await self.refresh(f"con_{number}", generation)
        self._asking.discard(number)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(self._plan.sampled_every)
            now = self._clock()
            due = over = 0
            for number, member in enumerate(self._fleet.members):
                due += member.planned_at is not None and member.planned_at <= now
                if member.expires_at <= now and member.usage.between(now, now):
                    over += 1
                    if self._plan.asked_every:
                        wait = random.uniform(0, self._plan.asked_every)  # noqa: S311 - spreads load
                        asyncio.get_running_loop().call_later(wait, self._ask, number)
            self._seen.backlog.append((self._second(), due, over))


def chances(plan: Plan) -> random.Random:
    """What draws the population of a plan."""
    return random.Random(plan.seed)  # noqa: S311 - the same each time, and no secret


def _always_zero() -> float:
    return 0.0
