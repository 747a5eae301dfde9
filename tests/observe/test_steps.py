"""Steps: nothing at all, unless a fault run was asked for; and a build of the product refuses that."""

import pytest

from broker.errors import ConfigurationError
from broker.observe import steps

HERE, PUBLIC = "http://localhost:8400", "https://broker.example"


@pytest.fixture(autouse=True)
def _nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test switches on ends with it."""
    monkeypatch.setattr(steps, "_hold", None)


async def test_a_step_holds_nobody() -> None:
    """Without the variable there is nothing to wait for."""
    steps.prepare({}, public_url=PUBLIC)
    await steps.reached("refresh.answered")


def test_a_build_refuses_fault_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds a process stands beside the tests; without it the broker says so and doesn't start."""  # F1
    monkeypatch.setattr(steps, "_HOLDER", "tests.no_such_thing")
    with pytest.raises(ConfigurationError, match="source checkout"):
        steps.prepare({steps.VARIABLE: "/folder"}, public_url=HERE)


def test_a_broker_that_others_reach_refuses_fault_runs() -> None:
    """Also from a checkout: nobody can have a broker in use stop at a step."""  # F1
    with pytest.raises(ConfigurationError, match="BROKER_FAULT_RUN"):
        steps.prepare({steps.VARIABLE: "/folder"}, public_url=PUBLIC)
