"""What can be measured, by name: each scenario is a module that says at its top what it does.

A report is a JSON object. What it says for people is in two members, out of which the tables are made: ``comparisons``
(see :mod:`bench.rounds`) and ``figures``, each with its words. The rest are numbers for programs, such as the judges of
:mod:`bench.targets`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench import (
    authentication,
    authorizing,
    commands,
    expiring,
    fetching,
    herd,
    million,
    mixed,
    moving,
    proxying,
    redeeming,
    starting,
    unit_costs,
)
from bench.rounds import Effort


@dataclass(frozen=True)
class Scenario:
    """One of them."""

    about: str
    measure: Callable[[Effort], dict[str, Any]]
    """Starts what it needs, and answers its report."""
    always: bool = True
    """Whether ``make bench`` measures it; the others are measured when they are named."""
    quickly: bool = True
    """Whether ``make bench ARGS=quick`` does."""


SCENARIOS: Final = {
    "fetching": Scenario("fetches of fresh tokens, against the naive floor", fetching.measure),
    "redeeming": Scenario("references redeemed at /oauth/token, against the naive floor", redeeming.measure),
    "mixed": Scenario("fetches of which 5 % need a refresh", mixed.measure),
    "authorizing": Scenario("what to put on a request, against the naive floor", authorizing.measure, quickly=False),
    "proxying": Scenario(
        "the proxy, against asking the provider directly; a gigabyte each way", proxying.measure, quickly=False
    ),
    "commands": Scenario("what the store is asked for one request", commands.measure),
    "starting": Scenario("cold start, and memory of a worker", starting.measure),
    "million": Scenario("a thousand connections, a hundred thousand, a million", million.measure),
    "units": Scenario(
        "a refresh, moving an event, a look at what is due: what each costs", unit_costs.measure, quickly=False
    ),
    "herd": Scenario("300 fetches at once of a token that was refused", herd.measure, quickly=False),
    "expiring": Scenario("10,000 connections that are due within a minute", expiring.measure, always=False),
    "moving": Scenario("10,000 connections moved in, and taken back", moving.measure, always=False),
    "authentication": Scenario("whether refusals tell who is a client", authentication.measure, always=False),
}
