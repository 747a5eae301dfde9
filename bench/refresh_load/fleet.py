"""The connections of the simulation, in memory, with the faces that the broker's background work asks of its store.

They are what ``vault.records`` and ``vault.due`` are to it: read, claimed, hidden for a while, given another time.
"""

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from bench.refresh_load.people import Usage
from broker.connections import schedule
from broker.errors import BrokerError
from broker.models.connection import Connection, Credential, Health, Minted, Status
from broker.providers import Provider
from broker.vault.due import Entry, Kind

_BUCKETS: Final = 64
"""Fewer than the store has, for speed; nothing is decided by their number."""
_CREDENTIAL: Final = Credential("access", "refresh")
_PREFIX: Final = "con_"


@dataclass(slots=True)
class Member:
    """What changes about one connection. Times in milliseconds."""

    usage: Usage
    made_at: int
    expires_at: int
    planned_at: int | None = None
    """As its record says."""
    due_at: int | None = None
    """As the due work says: later than planned while somebody has claimed it."""
    refreshed_at: int | None = None
    generation: int = 1
    failures: int = 0


class Fleet:
    """All connections of one provider."""

    def __init__(self, provider: Provider, *, lifetime: int, clock: Callable[[], int], chance: schedule.Chance) -> None:
        """
        :param lifetime: seconds that an access token lives.
        :param chance: what spreads the times at which connections come due.
        """
        self.provider = provider
        self.members: list[Member] = []
        self._lifetime = lifetime * 1000
        self._clock = clock
        self._chance = chance
        self._coming: list[tuple[int, int]] = []
        self._due: list[deque[int]] = [deque() for _ in range(_BUCKETS)]
        self._template = Connection(
            *("", "default", provider.name, "somebody", Status.ACTIVE, "oauth2", 1, "grant", ("profile",)),
            requested_scopes=("profile",),
            minted=Minted("", ""),
            created_at=0,
            updated_at=0,
        )

    def add(self, usage: Usage, *, issued_at: int | None = None) -> int:
        """One more connection; answers its number.

        :param issued_at: when it got its present access token (ms); ``None``: now, and it is made now, too.
        """
        now = self._clock()
        at = now if issued_at is None else issued_at
        number = len(self.members)
        self.members.append(Member(usage, at, at, refreshed_at=issued_at))
        self._issued(number, at)
        member = self.members[number]
        if issued_at is not None and (member.planned_at or 0) <= now - self._lifetime:
            # What is long over was found idle long ago.
            due = schedule.when_idle(
                self.connection(number), self.provider, now=now, has_refresh_token=True, chance=self._chance
            )
            self._plan(number, due)
        return number

    def connection(self, number: int) -> Connection:
        """The connection of that number as its record is now."""
        member, now = self.members[number], self._clock()
        health = Health(
            last_refreshed_at=member.refreshed_at,
            next_refresh_at=member.planned_at,
            consecutive_failures=member.failures,
        )
        return replace(
            self._template,
            id=f"{_PREFIX}{number}",
            generation=member.generation,
            created_at=member.made_at,
            access_token_expires_at=member.expires_at,
            last_used_at=member.usage.last_before(now),
            health=health,
        )

    def succeed(self, number: int) -> None:
        """Commit what the provider just issued."""
        member, now = self.members[number], self._clock()
        member.generation += 1
        member.failures = 0
        member.refreshed_at = now
        self._issued(number, now)

    def fail(self, number: int, error: BrokerError) -> None:
        """Note that a refresh ended in ``error``."""
        member, now = self.members[number], self._clock()
        before = self.connection(number)
        member.failures += 1
        again = schedule.after_failure(
            before, self.provider, error, failures=member.failures, now=now, chance=self._chance
        )
        self._plan(number, again)

    # What the due work is asked.

    async def waiting(self, *, now: int) -> dict[int, int]:
        """How much is due, by bucket."""
        while self._coming and self._coming[0][0] <= now:
            at, number = heapq.heappop(self._coming)
            if self.members[number].due_at == at:
                self._due[number % _BUCKETS].append(number)
        return {bucket: len(due) for bucket, due in enumerate(self._due) if due}

    async def claim(
        self, bucket: int, *, now: int, hidden_for: int, count: int, kinds: Collection[Kind] = tuple(Kind)
    ) -> list[Entry]:
        """The longest due first, hidden from everybody else until they are settled or their time is over."""
        due, claimed = self._due[bucket], list[Entry]()
        while due and len(claimed) < count:
            number = due.popleft()
            member = self.members[number]
            if member.due_at is not None and member.due_at <= now:
                self._hang(number, now + hidden_for)
                claimed.append(Entry(Kind.REFRESH, f"{_PREFIX}{number}", now + hidden_for))
        return claimed

    async def settle(self, entry: Entry, *, due: int | None) -> bool:
        """Give claimed work another time, unless that has happened meanwhile."""
        number = number_of(entry.connection_id)
        if self.members[number].due_at != entry.hidden_until:
            return False
        self._hang(number, due)
        return True

    # What the records are asked.

    async def read_with_credential(self, connection_id: str) -> tuple[Connection, Credential]:
        """The connection as it is now."""
        return self.connection(number_of(connection_id)), _CREDENTIAL

    async def annotate(self, connection: Connection, *, health: Health, **_others: object) -> bool:
        """Note when an idle connection is due."""
        self._plan(number_of(connection.id), health.next_refresh_at)
        return True

    def _issued(self, number: int, now: int) -> None:
        member = self.members[number]
        member.expires_at = now + self._lifetime
        due = schedule.after_success(
            self.connection(number), self.provider, now=now, has_refresh_token=True, chance=self._chance
        )
        self._plan(number, due)

    def _plan(self, number: int, at: int | None) -> None:
        self.members[number].planned_at = at
        self._hang(number, at)

    def _hang(self, number: int, at: int | None) -> None:
        self.members[number].due_at = at
        if at is not None:
            heapq.heappush(self._coming, (at, number))


def number_of(connection_id: str) -> int:
    """The number of the connection with that id."""
    return int(connection_id.removeprefix(_PREFIX))
