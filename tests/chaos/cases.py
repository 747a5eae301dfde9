"""What is tried, as data, and which of it has to survive."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ROTATIONS: Final = ("none", "grace", "strict", "revoke_on_reuse")
"""What a provider does with a used refresh token; the runs' providers file has an entry of each name."""

_SINGLE_USE: Final = ("strict", "revoke_on_reuse")


class Kill(StrEnum):
    """What is done to the broker that refreshes."""

    SIGKILL = "SIGKILL"
    """Its process is gone in the middle of whatever it does; its lease runs out."""
    SIGSTOP = "SIGSTOP"
    """It stands still until another has taken over, then goes on where it was (SIGCONT)."""
    STOPPED_THEN_KILLED = "SIGSTOP, SIGKILL"
    """It stands still until another has taken over, and goes on. What it had in its hands it stores; where the other
    has declared the connection over meanwhile, it is gone before it could take that back."""
    PAST_DEADLINE = "SIGSTOP past the deadline"
    """It stands still for longer than its request to the provider may take, and keeps its lease: the answer lies ready
    when it goes on (SIGCONT)."""
    BOTH_STOPPED = "SIGSTOP of both"
    """It stands still until its lease is over, and so does the one who could take over; then both go on."""
    SIGTERM = "SIGTERM"
    """It is told to end."""


KILLS: Final = (Kill.SIGKILL, Kill.SIGSTOP, Kill.SIGTERM)
"""What is done at every step, whatever befalls the store."""
STANDSTILLS: Final = (Kill.PAST_DEADLINE, Kill.BOTH_STOPPED)
"""What costs nobody a refresh token, at no step: what was answered is read, and waited for."""


class Step(StrEnum):
    """How far the refresh has come."""

    LEASED = "leased"
    INTENDED = "intended"
    """The intent is durable; nothing has been sent."""
    WORKED = "provider did the work"
    """The provider has rotated; its answer has not come."""
    ANSWERED = "answered"
    """The answer exists in the broker's memory and nowhere else."""
    COMMITTED = "committed"
    """It is stored; nobody has been told."""


class Store(StrEnum):
    """What befalls the store meanwhile."""

    FINE = "fine"
    ANSWER_LOST = "answer lost"
    """The store carries out the write that leads to the step, its answer never arrives, the connection is cut; and once
    more with the next write after the step. Killed while it holds an answer of the provider, the broker is killed after
    the store has carried its commit out, and before it hears of that."""
    KILLED = "killed, restarted"
    """``kill -9`` at the same moment; it comes up again with its append-only file."""
    FAILED_OVER = "failed over"
    """``kill -9`` of the primary, and its replica takes its place."""
    FAILED_OVER_BEHIND = "failed over, replica behind"
    """The same, and the replica had got nothing of the whole refresh: no lease, no intent, no commit."""

    @property
    def replicated(self) -> bool:
        """Whether it takes a replica."""
        return self in {Store.FAILED_OVER, Store.FAILED_OVER_BEHIND}


@dataclass(frozen=True, slots=True)
class Case:
    """One connection's fate."""

    rotation: str
    kill: Kill
    step: Step
    store: Store
    living: bool
    """Whether the access token still lives, so that the refresh was not necessary yet."""

    def __str__(self) -> str:
        token = "living token" if self.living else "expired token"
        return f"{self.rotation}, {self.kill} at {self.step!r}, store {self.store}, {token}"

    @property
    def promised(self) -> bool:
        """Whether anything is.

        A lease that a failover loses keeps nobody from refreshing. Where two do, a provider that takes a second use for
        theft ends the grant, and may do so after one of them has stored what it got.
        """
        crossing = self.kill is not Kill.SIGKILL and self.step is not Step.LEASED
        return not (self.store is Store.FAILED_OVER_BEHIND and self.rotation == "revoke_on_reuse" and crossing)

    @property
    def reasons(self) -> frozenset[str]:
        """What may be said if the connection is declared over: nobody revokes anything in these runs, but where the
        store has forgotten that a refresh was begun, nobody can know that."""
        forgotten = {"revoked_at_provider"} if self.store is Store.FAILED_OVER_BEHIND else set()
        return frozenset({"refresh_outcome_unknown", *forgotten})

    @property
    def must_survive(self) -> bool:
        """Whether declaring the connection over is not enough.

        A provider that takes each refresh token once, and a broker that is gone between that provider's work and its
        own commit: then the only refresh token that works is gone too, and nobody can bring it back.
        """
        if self.rotation not in _SINGLE_USE:
            return True
        if self.store is Store.FAILED_OVER_BEHIND:
            # Nothing keeps two brokers from refreshing at the same time, and nobody knows that a refresh was begun.
            return self.step is Step.LEASED or (self.step is Step.INTENDED and self.kill is Kill.SIGKILL)
        if self.kill is Kill.SIGTERM or self.kill in STANDSTILLS:
            return True
        if self.step is Step.WORKED:
            return False
        if self.step is Step.ANSWERED:
            # Stopped, it commits when it goes on; unless others had to try the old one meanwhile. With a living token
            # they don't.
            committed = self.kill is Kill.SIGKILL and self.store is Store.ANSWER_LOST
            return committed or (self.kill is Kill.SIGSTOP and self.living)
        return True


@dataclass(frozen=True, slots=True)
class Course:
    """What befalls one broker and its store, while it has refreshes at every step at every provider."""

    kill: Kill
    store: Store
    living: bool = False

    def cases(self, rotations: Iterable[str]) -> Iterator[Case]:
        """A case for each step and rotation, in the order in which they have to be set up.

        Whoever waits for the provider does not wait for long, so that step is last.
        """
        rotations = tuple(rotations)
        for step in (Step.COMMITTED, Step.ANSWERED, Step.LEASED, Step.INTENDED, Step.WORKED):
            for rotation in rotations:
                yield Case(rotation, self.kill, step, self.store, self.living)
