"""What falls due and can't be done for want of an entry: counted, told once an hour, and struck off nowhere."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from broker.app.heart import Heart, build_heart
from broker.background.checking import Checking
from broker.background.configured import Configured
from broker.observe import metrics
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.due import Kind
from tests.background.ahead import HOUR, apps_own, chore_of, work_off
from tests.observe.capture import logged
from tests.vault.samples import a_connection
from tests.world import FakeClock

__all__ = ["logged"]


def told(logged: StringIO) -> list[dict[str, Any]]:
    """The lines about providers that can't be used."""
    lines = (json.loads(line) for line in logged.getvalue().splitlines())
    return [line for line in lines if line["event"] == "provider.not_configured"]


def counted(chore: str, provider: str) -> float:
    """How many connections fell due in vain."""
    of = {"ahead": metrics.refreshes_ahead, "checks": metrics.checks}[chore]
    return float(of.labels(provider, "not_configured")._value.get())


@pytest.fixture
async def poorer(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[Heart]:
    """A broker on the same store whose file lacks the practice provider."""
    poorer = build_heart(settings, Registry(entry for entry in providers if entry.name != "practice"), clock)
    yield poorer
    await poorer.aclose(work_ends_within=5)


async def test_whose_entry_is_gone_is_seen_by_the_operator(
    heart: Heart, poorer: Heart, clock: FakeClock, logged: StringIO
) -> None:
    """One line an hour, with the provider's name, however many are due; the metric has a name from the file or none."""
    await apps_own(heart, 3)
    before = counted("ahead", "-")
    chore = chore_of(poorer)
    assert await work_off(chore) == 3
    assert counted("ahead", "-") == before + 3
    (line,) = told(logged)
    assert (line["level"], line["provider"]) == ("warning", "practice")
    assert line["reason"] == "the providers file has no entry for it"
    clock.advance(seconds=HOUR)
    assert await work_off(chore) == 3
    assert (len(told(logged)), counted("ahead", "-")) == (2, before + 6)


async def test_tests_that_fall_due_are_seen_as_well(
    heart: Heart, poorer: Heart, clock: FakeClock, logged: StringIO
) -> None:
    """Credentials that nobody refreshes fall due for nothing else; they are due again in an hour."""
    (connection_id,) = await apps_own(heart, 1)
    await heart.store.execute("ZADD", names.due(connection_id), clock(), f"{Kind.CHECK.value}:{connection_id}")
    before = counted("checks", "-")
    checking = Checking(poorer.due, poorer.records, poorer.lifecycle, poorer.providers, clock)
    assert await checking.step() == 1
    await checking.finish()
    assert (counted("checks", "-"), [line["provider"] for line in told(logged)]) == (before + 1, ["practice"])
    due = await heart.store.execute("ZSCORE", names.due(connection_id), f"{Kind.CHECK.value}:{connection_id}")
    assert int(due) == clock() + HOUR * 1000


@pytest.mark.parametrize(
    ("change", "lacks"), [({"client_id": None}, "client_id"), ({}, None)], ids=["lacking", "whole"]
)
def test_an_entry_that_lacks_something_is_named(
    providers: Registry, clock: FakeClock, logged: StringIO, change: dict[str, Any], lacks: str | None
) -> None:
    """What it lacks is said, not with which value; one that lacks nothing is the provider."""
    entry = providers.get("practice").model_copy(update=change)
    before = counted("ahead", "practice")
    found = Configured(Registry([entry]), metrics.refreshes_ahead, clock).provider_of(
        replace(a_connection(), provider="practice")
    )
    assert found is (None if lacks else entry)
    assert counted("ahead", "practice") == before + bool(lacks)
    assert [line["reason"] for line in told(logged)] == ([f"its entry lacks {lacks}"] if lacks else [])
