"""The tables of ``docs/scaling.md`` that come of the measurements: costs, needs, limits, checks, the spread of buckets.

``python -m bench.capacity_page`` makes them anew from ``bench/results.json``; whatever renews that does, too.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench.capacity import (
    BUSY,
    LED,
    RECORDED,
    RETAINED,
    Costs,
    Fleet,
    Results,
    broker_side,
    fullest,
    need,
    refreshed_every,
)
from bench.marks import filled
from broker.background import refreshing

_ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = _ROOT / "docs" / "scaling.md"
_FLEETS: Final = (
    Fleet(10_000, 0.2, 10_000 * 0.2 / 60),
    Fleet(1_000_000, 0.2, 1_000_000 * 0.2 / 60, tenants=10),
    Fleet(100_000_000, 0.2, 100_000_000 * 0.2 / 60, tenants=1_000),
    Fleet(100_000_000, 0.2, 100_000_000 * 0.2 / 3600, tenants=1_000),
)
"""Each connection in use is fetched once a minute; the last ones' services keep a token until it ends."""
_SHARE: Final = "share of the fetches that was refreshed"
_NODES: Final = (3, 6, 12, 24, 48, 96)


def renew(results: Results) -> None:
    """Put the tables in the place of the old ones."""
    PAGE.write_text(filled(PAGE.read_text(), tables(results), where="docs/scaling.md"))


def tables(results: Results) -> dict[str, str]:
    """By the names of their marks; those that nothing was measured for are left out."""
    parts = {"buckets": _buckets()}
    if all(name in results for name in RECORDED):
        costs = Costs.of(results)
        parts |= {
            "costs": _costs(costs),
            "needs": _needs(costs),
            "limits": _limits(costs),
            "checks": _checks(costs, results),
        }
    return parts


def _table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _costs(costs: Costs) -> str:
    return _table(
        ("symbol", "what", "measured"),
        (
            "w_f",
            "CPU of a worker for a fetch, its event moved on; alone in its batch",
            f"{costs.fetch_worker:,.0f} µs; {costs.fetch_worker_alone:,.0f} µs",
        ),
        (
            "s_f",
            "CPU of the store for a fetch, its event moved on; alone in its batch",
            f"{costs.fetch_store:,.0f} µs; {costs.fetch_store_alone:,.0f} µs",
        ),
        ("w_r", "CPU of a worker for a refresh", f"{costs.refresh_worker:,.0f} µs"),
        ("s_r", "CPU of the store for a refresh", f"{costs.refresh_store:,.0f} µs"),
        ("w_e", "CPU of a worker to move an event into the journal", f"{costs.event_worker:,.0f} µs"),
        ("s_e", "CPU of the store to move an event", f"{costs.event_store:,.0f} µs"),
        ("l", "CPU of the leaders' looks when nothing is to be done", f"{costs.look_worker / 1e4:.2f} % of a core"),
        (
            "b",
            "memory of a connection with the practice provider's short tokens",
            f"{costs.connection_bytes:,.0f} bytes",
        ),
        ("b_e", "memory of an event in the journal", f"{costs.event_bytes:,.0f} bytes"),
    )


def _needs(costs: Costs) -> str:
    needs = [need(fleet, costs) for fleet in _FLEETS]
    return _table(
        ("", *(f"{fleet.connections:,}" for fleet in _FLEETS)),
        ("tenants", *(f"{fleet.tenants:,}" for fleet in _FLEETS)),
        ("in use", *(f"{fleet.connections * fleet.share_in_use:,.0f}" for fleet in _FLEETS)),
        ("fetches a second", *(f"{fleet.fetches_per_second:,.0f}" for fleet in _FLEETS)),
        ("refreshes a second", *(f"{fleet.refreshes_per_second:,.1f}" for fleet in _FLEETS)),
        ("workers", *(f"{it.workers:,} ({it.worker_cores:,.1f} cores)" for it in needs)),
        ("store nodes", *(f"{it.stores:,} ({it.store_cores:,.2f} cores)" for it in needs)),
        ("of them by memory", *(f"{max(1, -(-it.memory // 8e9)):,.0f}" for it in needs)),
        ("memory: connections", *(_bytes(fleet.connections * costs.connection_bytes) for fleet in _FLEETS)),
        ("memory: journals, when full", *(_bytes(fleet.tenants * RETAINED * costs.event_bytes) for fleet in _FLEETS)),
        ("memory to install, one replica each", *(_bytes(it.memory * 4) for it in needs)),
        ("the leader that moves events", *(_led(it.led_events) for it in needs)),
        ("the leader that refreshes", *(_led(it.led_refreshes) for it in needs)),
    )


def _limits(costs: Costs) -> str:
    # However little they cost, they begin one by one.
    led_refreshes = min(LED / costs.refresh_worker * 1e6, 1 / refreshing._APART)
    led_events = LED / costs.event_worker * 1e6
    one_store = BUSY / costs.fetch_store * 1e6
    every = refreshed_every(3600)
    return _table(
        ("what", "bears", "that is"),
        (
            "one provider entry, defaults: 12 refreshes ahead at once, 0.2 s each",
            "60 refreshes/s",
            f"{60 * every:,.0f} connections in use",
        ),
        ("the same, `max_concurrent: 128`: 64 at once", "320 refreshes/s", f"{320 * every:,.0f} connections in use"),
        (
            "the leader that refreshes ahead",
            f"{led_refreshes:,.0f} refreshes/s",
            f"{led_refreshes * every:,.0f} connections in use",
        ),
        (
            "the leader that moves events",
            f"{led_events:,.0f} events/s",
            "fetches and refreshes of all tenants together",
        ),
        ("a single store", f"{one_store:,.0f} fetches/s", "their events moved on"),
        (
            "a tenant's journal: one key, one node",
            f"{BUSY / costs.event_store * 1e6:,.0f} events/s",
            "of one tenant, where that node does nothing else",
        ),
        (
            "the default retention, a million events",
            f"{RETAINED * costs.event_bytes / 1e6:,.0f} MB a tenant",
            f"{RETAINED / 3600:,.0f} events/s fill it in an hour",
        ),
    )


def _checks(costs: Costs, results: Results) -> str:
    """What the model says of other runs than those that its costs were taken from.

    Of two workers it can only say whether a request costs the same: which cores were busy comes from that very run.
    """
    rows = []
    two = broker_side(results, at_once=64, workers=2)
    load = two["cores"]["wrk"] / two["requests_per_second"] * 1e6
    cores = sum(two["cores"]["workers"]) + two["cores"]["store"] + two["cores"]["wrk"]
    said = cores / (costs.fetch_worker + costs.fetch_store + load) * 1e6
    rows.append(
        _check(f"fetches/s, two workers, on the {cores:.1f} cores that all kept busy", said, two["requests_per_second"])
    )
    mixed = results["mixed"]["comparisons"][0]["sides"]
    share = float(results["mixed"]["figures"][_SHARE].rstrip("%")) / 100
    said = mixed[1]["cpu_microseconds"]["workers"] + share * costs.refresh_worker
    rows.append(
        _check(
            f"CPU of a worker for a fetch, {share:.1%} of them refreshed, µs",
            said,
            mixed[2]["cpu_microseconds"]["workers"],
        )
    )
    sizes = results["million"].get("sizes", [])
    if len(sizes) > 1:
        said = sizes[-2]["bytes_per_connection"] * sizes[-1]["connections"] / 1e6
        rows.append(
            _check(
                "MB of a million connections, from a tenth of them",
                said,
                sizes[-1]["bytes_per_connection"] * sizes[-1]["connections"] / 1e6,
            )
        )
    return _table(("what", "the model says", "measured", "apart"), *rows)


def _check(what: str, said: float, measured: float) -> tuple[str, ...]:
    return what, f"{said:,.0f}", f"{measured:,.0f}", f"{said / measured - 1:+.0%}"


def _buckets() -> str:
    rows = []
    for nodes in _NODES:
        most, fewest = fullest(nodes)
        rows.append((f"{nodes}", f"{1024 / nodes:.1f}", f"{fewest}", f"{most}", f"+{most * nodes / 1024 - 1:.0%}"))
    return _table(("nodes", "buckets each, evenly", "the emptiest has", "the fullest has", "over the mean"), *rows)


def _led(cores: float) -> str:
    return f"{cores:,.3g} cores" if cores <= LED else f"**{cores:,.3g} cores**"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def main() -> int:
    """Renew the tables from the committed results."""
    results: dict[str, Any] = json.loads((_ROOT / "bench" / "results.json").read_text())
    if missing := [name for name in RECORDED if name not in results]:
        print(f"*** bench/results.json has nothing of {', '.join(missing)}", file=sys.stderr)
        return 1
    renew(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
