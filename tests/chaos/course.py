"""One course: refreshes at every step in one broker, which is cut off; others take over; all is mended and judged."""

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.vault import scripts
from tests.chaos.callers import Callers
from tests.chaos.cases import Case, Course, Kill, Step, Store
from tests.chaos.fleet import Connected, Fleet
from tests.chaos.judge import Finding, Verdict, judge
from tests.chaos.processes import BrokerProcess
from tests.chaos.service import Answer
from tests.chaos.waiting import become

_LIVING = 30
"""Seconds that a living token lives: longer than it takes others to take over."""
_ENOUGH_TO_SEND = 0.5
"""Seconds in which who has the lease has sent the refresh token, if it waits for nobody."""
_STEPS: Final = {
    Step.LEASED: "refresh.leased",
    Step.INTENDED: "refresh.intended",
    Step.ANSWERED: "refresh.answered",
    Step.COMMITTED: "refresh.committed",
}
"""What they are called in the broker; the work of a provider is no step of the broker's."""
_LEADS_TO: Final = {
    Step.LEASED: scripts.LEASE,
    Step.INTENDED: scripts.LEASE_INTEND,
    Step.WORKED: scripts.LEASE_INTEND,
    Step.ANSWERED: scripts.LEASE_INTEND,
    Step.COMMITTED: scripts.WRITE,
}
"""The last write before each step."""


@dataclass
class _Held:
    case: Case
    connected: Connected
    callers: Callers
    flight: "asyncio.Task[Answer] | None" = None
    """The fetch that is cut off."""
    at: Path | None = None
    """The ticket that holds it."""
    lease: bytes | None = None
    """Who had the lease then."""

    @property
    def given_up(self) -> bool:
        """Whether the connection was declared over while the victim had a new credential for it."""
        return self.case.step is Step.ANSWERED and any(answer.over for answer in self.callers.answers)


async def run(
    course: Course, fleet: Fleet, victim: BrokerProcess, rotations: tuple[str, ...]
) -> list[tuple[Case, Finding]]:
    """Answers what became of each case's connection."""
    return await _Run(course, fleet, victim).run(rotations)


class _Run:
    def __init__(self, course: Course, fleet: Fleet, victim: BrokerProcess) -> None:
        self._course = course
        self._fleet = fleet
        self._victim = victim
        self._held: list[_Held] = []
        self._reused = 0

    async def run(self, rotations: tuple[str, ...]) -> list[tuple[Case, Finding]]:
        course, fleet = self._course, self._fleet
        life = _LIVING if course.living else 1
        ready = {rotation: await fleet.connect(rotation, len(Step), life=life) for rotation in rotations}
        for case in course.cases(rotations):
            connected = ready[case.rotation].pop()
            self._held.append(_Held(case, connected, Callers(fleet, connected, course.living)))
        if not course.living:
            await self._outlive()
        self._reused = await self._reuses()
        async with fleet.setting_up:
            fleet.store.precede(course.store)
            for held in self._held:
                await self._bring(held)
            for held in self._held:
                held.callers.start()
            await self._cut()
        await self._go_on()
        await self._victim.lives()
        gambled = await self._reuses() - self._reused if course.living else 0
        await self._outlive()
        await asyncio.gather(*(held.callers.stop() for held in self._held))
        findings = await asyncio.gather(*(self._judge(position, held) for position, held in enumerate(self._held)))
        if gambled:
            findings = [Finding(Verdict.LOST, "a living token's refresh was gambled with") for _ in findings]
        return [(held.case, finding) for held, finding in zip(self._held, findings, strict=True)]

    async def _bring(self, held: _Held) -> None:
        """Have the victim refresh, up to the case's step."""
        case, fleet, victim = held.case, self._fleet, self._victim
        if case.store is Store.ANSWER_LOST:
            victim.line.swallow(_LEADS_TO[case.step])
        if case.step is Step.WORKED:
            await fleet.hold_answers(held=True)
            waiting = (await fleet.counters(case.rotation))["token_waiting"]
            held.flight = self._fetch(held)
            await become(lambda: self._more_wait(case.rotation, waiting), "the provider's work", 5)
        else:
            held.at = victim.tickets.want(_STEPS[case.step])
            held.flight = self._fetch(held)
            await become(held.at.exists, f"a refresh at {case.step!r}", 5)
        held.lease = await fleet.lease_of(held.connected.id)

    def _fetch(self, held: _Held) -> "asyncio.Task[Answer]":
        connected = held.connected
        body = {"stale_generation": 1} if self._course.living else {}
        return asyncio.create_task(
            self._fleet.service.fetch(self._victim.http, connected.id, connected.rotation, **body)
        )

    async def _cut(self) -> None:
        """The kill and what befalls the store, at the same moment; then the provider's answers are let go."""
        course, fleet, victim = self._course, self._fleet, self._victim
        match course.kill:
            case Kill.SIGKILL:
                if course.store is Store.ANSWER_LOST:
                    await self._commit_unheard()
                await fleet.store.befall(course.store)
                victim.kill()
            case Kill.SIGSTOP | Kill.STOPPED_THEN_KILLED | Kill.PAST_DEADLINE:
                await fleet.store.befall(course.store)
                victim.signal(signal.SIGSTOP)
            case Kill.BOTH_STOPPED:
                fleet.other.signal(signal.SIGSTOP)
                victim.signal(signal.SIGSTOP)
            case Kill.SIGTERM:
                await fleet.store.befall(course.store)
                if course.store is Store.ANSWER_LOST:
                    victim.line.swallow(scripts.LEASE_INTEND, scripts.WRITE)
                victim.terminate()
                victim.tickets.release()
        await fleet.hold_answers(held=False)

    async def _commit_unheard(self) -> None:
        """The store carries out what the victim has to commit, and the victim never hears of it."""
        self._victim.line.swallow(scripts.WRITE, again=True)
        committing = [held for held in self._held if held.case.step is Step.ANSWERED]
        for held in committing:
            assert held.at is not None
            held.at.unlink()
        for held in committing:
            await become(lambda held=held: self._committed(held), "a commit without an answer", 10)  # type: ignore[misc]

    async def _committed(self, held: _Held) -> bool:
        return await self._fleet.generation_of(held.connected.id) == 2

    async def _more_wait(self, rotation: str, before: int) -> bool:
        waiting: int = (await self._fleet.counters(rotation))["token_waiting"]
        return waiting > before

    async def _go_on(self) -> None:
        """Until the victim, or the one in its place, and the store are there again."""
        course, fleet, victim = self._course, self._fleet, self._victim
        match course.kill:
            case Kill.SIGKILL:
                await fleet.store.recover(course.store)
                await fleet.store.mend(course.store)
                await victim.succeeded()
            case Kill.SIGSTOP:
                await fleet.store.recover(course.store)
                await self._taken_over()
                victim.tickets.release()
                if course.store is Store.ANSWER_LOST:
                    victim.line.swallow(scripts.LEASE_INTEND, scripts.WRITE)
                victim.signal(signal.SIGCONT)
                await fleet.store.mend(course.store)
            case Kill.STOPPED_THEN_KILLED:
                await fleet.store.recover(course.store)
                await self._taken_over()
                await fleet.store.mend(course.store)
                victim.tickets.release()
                given_up = [victim.tickets.want("refresh.given_up") for held in self._held if held.given_up]
                victim.signal(signal.SIGCONT)
                for reached in given_up:
                    await become(reached.exists, "the victim at a connection that was given up")
                victim.kill()
                await victim.succeeded()
            case Kill.PAST_DEADLINE:
                await asyncio.sleep(fleet.slowest_provider + 1)
                victim.tickets.release()
                victim.signal(signal.SIGCONT)
            case Kill.BOTH_STOPPED:
                await asyncio.gather(*(self._nobodys(held) for held in self._held))
                fleet.other.signal(signal.SIGCONT)
                victim.signal(signal.SIGCONT)
                # The one who takes over is the faster of the two.
                await asyncio.gather(
                    *(self._commit_late(held) for held in self._held if held.case.step is Step.ANSWERED)
                )
                victim.tickets.release()
            case Kill.SIGTERM:
                knocked = victim.line.accepted
                if course.store is Store.KILLED or course.store.replicated:
                    # It finds the store gone, more than once.
                    with suppress(TimeoutError):
                        await become(lambda: victim.line.accepted > knocked + 2, "the victim at the dead store", 2)
                await fleet.store.recover(course.store)
                # It stays until enough replicas have what it stored.
                await fleet.store.mend(course.store)
                code = await victim.ended()
                if code != 0:
                    raise RuntimeError(f"a broker that was told to end ended with {code}: {victim.said()}")
                victim.line.swallow()
                await victim.start()
        victim.line.swallow()
        victim.tickets.release()
        flights = [held.flight for held in self._held if held.flight is not None]
        await asyncio.wait(flights, timeout=30)

    async def _taken_over(self) -> None:
        """Others have refreshed, or have been told that they can't; at least the victim's leases are over."""
        for held in self._held:
            await become(lambda held=held: held.callers.settled, "somebody who takes over", 40)  # type: ignore[misc]
            await become(lambda held=held: self._lease_over(held), "the end of a lease")  # type: ignore[misc]

    async def _lease_over(self, held: _Held) -> bool:
        return await self._fleet.lease_of(held.connected.id) != held.lease or held.lease is None

    async def _nobodys(self, held: _Held) -> None:
        async def free() -> bool:
            return await self._fleet.lease_of(held.connected.id) is None

        await become(free, "the end of a lease")

    async def _commit_late(self, held: _Held) -> None:
        """Have the victim store the provider's answer when somebody else has had the lease for long enough to send."""
        assert held.at is not None

        async def taken() -> bool:
            return await self._fleet.lease_of(held.connected.id) is not None

        await become(taken, "somebody who takes over")
        await asyncio.sleep(_ENOUGH_TO_SEND)
        held.at.unlink()

    async def _reuses(self) -> int:
        """How many refresh tokens the providers saw that had been used."""
        rotations = {held.case.rotation for held in self._held}
        return sum([int((await self._fleet.counters(rotation))["reuse_detected"]) for rotation in rotations])

    async def _outlive(self) -> None:
        """Wait until no first token lives any more."""
        await asyncio.sleep(max(0.0, max(held.connected.expires_at for held in self._held) - time.time()))

    async def _judge(self, position: int, held: _Held) -> Finding:
        brokers = [self._victim.http, self._fleet.other.http]
        finding = await judge(
            self._fleet.service, held.connected, brokers if position % 2 else brokers[::-1], held.case.reasons
        )
        said = list(held.callers.answers)
        if held.flight is not None and held.flight.done():
            said += [answer for answer in [held.flight.result()] if answer.status]
        for answer in said:
            if answer.status == 200 and not answer.accepted:
                return Finding(Verdict.LOST, "somebody was served a token that the provider refused at once")
            if not (answer.served or answer.later or answer.over):
                return Finding(Verdict.LOST, f"somebody was answered {answer.status} {answer.code}")
        if held.callers.gambled:
            return Finding(Verdict.LOST, "somebody got no token, although it lived")
        if finding.verdict is Verdict.SURVIVED and held.case.must_survive and any(answer.over for answer in said):
            return Finding(Verdict.DECLARED, "for a while; somebody was told so")
        return finding
