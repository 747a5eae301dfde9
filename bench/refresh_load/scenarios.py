"""What is simulated, and what of it is reported."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bench.refresh_load.people import DAY, HOUR, Usage, around_the_clock, in_the_day, never
from bench.refresh_load.simulation import BEGINS, Plan, Seen, chances

_PHASES: Final = 0.8
"""Of a token's life: how old the tokens of connections in use are at most, as the broker refreshes them before."""
_MINUTE: Final = 60
_HALF_AN_HOUR: Final = 1800

Members = Sequence[tuple[Usage, int | None]]


def plans(*, quick: bool) -> Mapping[str, Plan]:
    """The scenarios by name; ``quick`` ones have a tenth of the connections."""
    size = 0.1 if quick else 1.0

    def many(count: int) -> int:
        return int(count * size)

    def slots(count: int) -> int:
        # What the provider bears shrinks along, so that the times stay as they are.
        return max(1, round(count * size))

    steady = Plan(lambda chance: _in_use(chance, many(10_000)), hours=5, outage=(1, 2), max_concurrent=slots(16))
    imported = Plan(lambda _: _made_now(many(100_000)), hours=2, max_concurrent=slots(64))
    return {
        "two days": Plan(
            lambda chance: _company(chance, many(100_000)),
            hours=48,
            max_concurrent=slots(16),
            sampled_every=1200,
        ),
        "outage, requests hang": steady,
        "outage, refused at once": replace(steady, refused_at_once=True),
        "outage, nobody asks": replace(steady, asked_every=None),
        "outage, slow provider": replace(steady, answers_after=2.0),
        "all made in a minute": imported,
        "the same, nothing spread": replace(imported, spread=False),
    }


def report(plan: Plan, seen: Seen) -> dict[str, Any]:
    """The figures of one scenario. Seconds, and refreshes per second."""
    end = plan.hours * 3600
    begin = min(_settled(plan), end / 2)
    calm = [at for at in seen.refreshed if begin <= at < (plan.outage[0] * 3600 if plan.outage else end)]
    span = (plan.outage[0] * 3600 if plan.outage else end) - begin
    peak = _peak(seen.refreshed)
    mean = len(calm) / span
    figures: dict[str, Any] = {
        "connections": len(plan.members(chances(plan))),
        "hours": plan.hours,
        "token_lifetime": plan.lifetime,
        "max_concurrent": plan.max_concurrent,
        "most_at_once": seen.most_at_once,
        "answers_after": plan.answers_after,
        "spread": plan.spread,
        "refreshes": len(seen.refreshed),
        "mean_per_second": round(mean, 2),
        "peak_per_second": round(peak, 2),
        "peak_to_mean": round(peak / mean, 2) if mean else None,
        "came_back": seen.came_back,
        "late": len(seen.late),
        "late_longest_seconds": round(max((long for _, long in seen.late), default=0)),
        "longest_queue": max((due for _, due, _ in seen.backlog), default=0),
    }
    if plan.outage:
        figures["outage"] = _outage(plan, seen)
    return figures


def per_minute(times: Sequence[float], *, hours: float) -> list[float]:
    """How many a second, minute by minute."""
    counted = Counter(int(at // _MINUTE) for at in times)
    return [counted[minute] / _MINUTE for minute in range(int(hours * 60))]


def _outage(plan: Plan, seen: Seen) -> dict[str, Any]:
    assert plan.outage
    begin, end = (hour * 3600 for hour in plan.outage)
    usual = max((due for at, due, _ in seen.backlog if _HALF_AN_HOUR <= at < begin), default=0)
    drained = next((at for at, due, _ in seen.backlog if at >= end and due <= usual), None)
    fresh = next((at for at, _, over in seen.backlog if at >= end and not over), None)
    return {
        "from_hour": plan.outage[0],
        "until_hour": plan.outage[1],
        "asked_in_vain": sum(begin <= at < end for at in seen.in_vain),
        "queue_before": usual,
        "queue_at_its_end": next((due for at, due, _ in seen.backlog if at >= end), 0),
        "without_a_token_at_its_end": next((over for at, _, over in seen.backlog if at >= end), 0),
        "late_after_its_end": sum(over >= end for over, _ in seen.late),
        "seconds_until_the_first_answer": round(min((at for at in seen.refreshed if at >= end), default=end) - end),
        "seconds_until_nobody_waits": None if fresh is None else round(fresh - end),
        "seconds_until_drained": None if drained is None else round(drained - end),
        "peak_after": round(_peak([at for at in seen.refreshed if at >= end]), 2),
    }


def _peak(times: Sequence[float]) -> float:
    return max(Counter(int(at // _MINUTE) for at in times).values(), default=0) / _MINUTE


def _settled(plan: Plan) -> float:
    return _HALF_AN_HOUR if plan.outage else 0.0


def _in_use(chance: random.Random, count: int) -> Members:
    """Machines' connections, in use around the clock, whose tokens were issued at any time."""
    end = BEGINS + 30 * DAY
    age = int(HOUR * _PHASES)
    return [(around_the_clock(BEGINS - age, end), BEGINS - chance.randrange(age)) for _ in range(count)]


def _made_now(count: int) -> Members:
    return [(around_the_clock(BEGINS, BEGINS + 30 * DAY), None) for _ in range(count)]


def _company(chance: random.Random, count: int) -> Members:
    """Of a hundred connections one is a machine's, four are people's who come on seven days of ten, and the others lie
    idle, refreshed some time in the last four weeks."""
    members: list[tuple[Usage, int | None]] = list(_in_use(chance, count // 100))
    for _ in range(count // 25):
        usage = in_the_day(chance, begin=BEGINS - DAY, days=5, share_of_days=0.7)
        members.append((usage, BEGINS - chance.randrange(int(HOUR * _PHASES))))
    members += [(never(), BEGINS - 2 * DAY - chance.randrange(24 * DAY)) for _ in range(count - len(members))]
    return members
