"""The capacity model: its formulas are those that the broker keeps to, and its tables are made of what was measured."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from bench import capacity_page
from bench.capacity import KEEPALIVE, Costs, Fleet, fullest, need, refreshed_every
from bench.marks import MarkMissing, filled
from broker.connections import schedule
from broker.models.connection import Connection, Health, Minted, Status
from broker.providers import Registry

_DRAWS = [(number + 0.5) / 1000 for number in range(1000)]
COSTS = Costs(
    fetch_worker=200,
    fetch_worker_alone=300,
    fetch_store=50,
    fetch_store_alone=60,
    refresh_worker=4000,
    refresh_store=600,
    event_worker=25,
    event_store=10,
    event_bytes=400,
    look_worker=9000,
    connection_bytes=1500,
)


def side(worker: float, store: float, per_second: int = 4000) -> dict[str, Any]:
    """What a comparison says of one side."""
    cpu = {"workers": worker, "store": store}
    return {
        "cpu_microseconds": cpu,
        "requests_per_second": per_second,
        "cores": {"workers": [0.7, 0.7], "store": 0.3, "wrk": 0.2},
    }


def results() -> dict[str, dict[str, Any]]:
    """Results of every scenario that the model needs."""

    def compared(at_once: int, workers: int, worker: float) -> dict[str, Any]:
        return {"at_once": at_once, "workers": workers, "sides": [side(1, 1), side(worker, 50), side(2, 2)]}

    costs = {"refresh": (4000, 600), "event": (25, 10), "look_at_due": (9000, 900), "look_at_outboxes": (8000, 800)}
    return {
        "fetching": {"comparisons": [compared(1, 1, 300), compared(64, 1, 200), compared(64, 2, 210)]},
        "mixed": {
            "comparisons": [{"sides": [side(1, 1), side(200, 50), side(410, 60)]}],
            "figures": {"share of the fetches that was refreshed": "5.0%"},
        },
        "million": {"bytes_per_connection": 1500, "sizes": []},
        "units": {**{name: {"worker": w, "store": s} for name, (w, s) in costs.items()}, "event_bytes": 400},
    }


def connection(now: int, lifetime: int, provider: str) -> Connection:
    """One whose token was just issued."""
    return Connection(
        *("con_1", "default", provider, "ann", Status.ACTIVE, "oauth2", 1, "grant", ("profile",)),
        requested_scopes=("profile",),
        minted=Minted("", ""),
        created_at=now,
        updated_at=now,
        access_token_expires_at=now + lifetime * 1000,
        health=Health(last_refreshed_at=now),
    )


@pytest.mark.parametrize("lifetime", [600, 3600, 86_400])
def test_the_formulas_mean_is_that_of_the_schedule(providers: Registry, lifetime: int) -> None:
    """Over all that chance may draw, connections in use are due T after their refresh, and idle ones 15/16 of
    ``keepalive``."""
    now, provider = 1_700_000_000_000, providers.get("practice")
    one = connection(now, lifetime, "practice")

    def mean(when: Callable[..., int | None]) -> float:
        dues = [when(one, provider, now=now, has_refresh_token=True, chance=repeat(drawn).__next__) for drawn in _DRAWS]
        return sum((due or 0) - now for due in dues) / len(dues) / 1000

    means = [mean(schedule.after_success), mean(schedule.when_idle)]
    assert means == pytest.approx([refreshed_every(lifetime), KEEPALIVE * 15 / 16], rel=1e-4)


def test_what_a_fleet_needs_is_the_sum_of_what_it_does() -> None:
    """One store while that is enough: counted by hand."""
    fleet = Fleet(1_000_000, 0.1, 1000.0)
    refreshes = 100_000 / 3075 + 900_000 / 2_430_000
    assert fleet.refreshes_per_second == pytest.approx(refreshes)
    needed = need(fleet, COSTS)
    # Moving the event of a fetch is in what a fetch costs; that of a refresh is not.
    assert needed.worker_cores == pytest.approx((1000 * 200 + refreshes * (4000 + 25)) / 1e6)
    assert needed.store_cores == pytest.approx((1000 * 50 + refreshes * (600 + 10)) / 1e6)
    assert (needed.workers, needed.stores) == (1, 1)
    assert needed.memory == 1_000_000 * 1500 + 1_000_000 * 400
    assert needed.led_refreshes == pytest.approx(refreshes * 4000 / 1e6)


def test_many_nodes_are_counted_with_commands_that_travel_alone() -> None:
    """Where one store is not enough, by CPU or by memory, a fetch costs what it costs alone."""
    by_memory = need(Fleet(100_000_000, 0.0, 1000.0), COSTS)
    assert by_memory.stores == 19  # 150.4 GB, 8 each
    assert by_memory.worker_cores > 1000 * 300 / 1e6
    by_cpu = need(Fleet(1000, 0.0, 50_000.0), COSTS)
    assert by_cpu.stores == 6  # 3 cores and a little, 0.6 each
    assert by_cpu.workers == 26  # 15 cores and a little for idle connections


def test_every_bucket_is_on_a_node() -> None:
    """One node has all; of more, none is left out until there are very many, and one has more than its share."""
    assert fullest(1) == (1024, 1024)
    for nodes in (3, 12, 96):
        most, fewest = fullest(nodes)
        assert 0 < fewest <= 1024 / nodes <= most


def test_the_page_has_a_place_for_every_table() -> None:
    """Those of the measurements and that of the simulation; filling them leaves the words alone."""
    page = capacity_page.PAGE.read_text()
    parts = {**capacity_page.tables(results()), "refresh_load": "| a |"}
    assert set(parts) == {"buckets", "costs", "needs", "limits", "checks", "refresh_load"}
    once = filled(page, parts, where="it")
    assert filled(once, parts, where="it") == once
    for name, table in parts.items():
        assert f"<!-- bench {name} -->\n\n{table}\n\n<!-- /bench {name} -->" in once
    with pytest.raises(MarkMissing, match="it: <!-- bench nowhere -->"):
        filled(page, {"nowhere": ""}, where="it")


def test_the_tables_say_what_was_measured() -> None:
    """Costs as they are; what one leader can't do is bold; a check says how far the model is off."""
    tables = capacity_page.tables(results())
    assert "a fetch, its event moved on; alone in its batch | 200 µs; 300 µs |" in tables["costs"]
    assert "| l | CPU of the leaders' looks when nothing is to be done | 0.70 % of a core |" in tables["costs"]
    leader = next(line for line in tables["needs"].splitlines() if "leader that refreshes" in line)
    assert leader.split("|")[2:6] == [" 0.00261 cores ", " 0.261 cores ", " **26.1 cores** ", " **26.1 cores** "]
    assert "| CPU of a worker for a fetch, 5.0% of them refreshed, µs | 400 | 410 | -2% |" in tables["checks"]
    assert "| the leader that refreshes ahead | 125 refreshes/s | 384,375 connections in use |" in tables["limits"]


def test_without_measurements_only_what_needs_none_is_written() -> None:
    """The spread of buckets is arithmetic."""
    assert set(capacity_page.tables({})) == {"buckets"}


def test_the_committed_tables_are_those_of_the_committed_results() -> None:
    """Nobody has written into them by hand, and none is older than the measurements."""
    recorded = json.loads(Path(capacity_page.__file__).with_name("results.json").read_text())
    page = capacity_page.PAGE.read_text()
    assert filled(page, capacity_page.tables(recorded), where="it") == page


def test_a_longer_life_is_worth_its_price() -> None:
    """Ten times the life, a tenth of the refreshes, nearly."""
    hour = Fleet(1000, 1.0, 0.0)
    assert replace(hour, lifetime=36_000).refreshes_per_second == pytest.approx(hour.refreshes_per_second / 10, rel=0.1)
