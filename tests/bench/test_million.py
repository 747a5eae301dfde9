"""What is said of a million connections is what was weighed."""

from typing import Any

from bench import million, wrk
from bench.rounds import Effort
from bench.targets import judge

SIZE: dict[str, Any] = {
    "connections": 1_000_000,
    "bytes_per_connection": 1300.4,
    "kinds": {"its record": 700.0, "the list of its subject": 130.5},
    "journal_bytes": 391_000_000,
    "loading_seconds": 8.25,
    "ready_seconds": 1.2,
    "fetches_per_second": [4000, 3900],
    "p50": [4.0, 4.2],
    "p99": [9.0, 9.5],
    "p50_ratio": 1.05,
    "p99_ratio": 1.06,
    "idle_cpu_seconds_per_minute": [0.48, 0.18],
}


def test_the_parts_of_a_connection_make_the_whole() -> None:
    """What no sample accounts for is the store's own; the journal is none of it."""
    few = {"connections": 1_000, "bytes_per_connection": 1800.0, "kinds": {}, "journal_bytes": 700_000}
    figures = million._figures([few, SIZE])
    parts = [int(figure.partition(" ")[0]) for words, figure in figures.items() if words.startswith("of these, ")]
    assert sum(parts) in {1300, 1301}
    assert figures["of the store's memory for each of 1,000,000"] == "1,300 bytes"
    assert figures["of the store's memory for each of 1,000"] == "1,800 bytes"
    assert [figure for words, figure in figures.items() if "journal" in words] == ["391 MB"]
    assert figures["p50 against that of 1,000 (4.0 ms)"] == "1.05×"
    assert figures["p99 against that of 1,000 (9.0 ms), not judged"] == "1.06×"


def test_the_medians_of_rounds_are_of_pairs(monkeypatch: Any) -> None:
    """The ratio is each round's own: what slows both down in one of them is not seen in it."""
    slow = iter([1.0, 1.0, 1.1, 1.1, 4.0, 4.0, 4.4, 4.4, 2.0, 2.0, 2.2, 2.2])

    def load(_url: str, requests: Any, *, at_once: int, seconds: int) -> wrk.Load:
        p50 = next(slow)
        return wrk.Load(int(1000 / p50), 1.0, p50, p50, p50, p50, p50, cpu_seconds=0.0)

    monkeypatch.setattr(wrk, "drive", load)
    request = wrk.request("POST", "http://localhost:8400/v1/x", {}, "{}")
    effort = Effort(rounds=3, seconds=2)
    compared = million._compare([request], [request], effort)
    assert (compared["p50_ratio"], compared["p99_ratio"]) == (1.1, 1.1)
    assert compared["p50"] == [2.0, 2.2]
    assert million._url([request]) == "http://localhost:8400"


def test_a_million_is_judged_by_a_million_alone() -> None:
    """A quick run fills ten thousand, and says nothing of the others."""
    report = {"bytes_per_connection": 1_300.0, "latency_ratio": 1.0, "sizes": [{"connections": 10_000}]}
    assert judge({"million": report}) == []
    report["sizes"] = [{"connections": 10_000}, {"connections": 1_000_000}]
    assert [verdict.met for verdict in judge({"million": report})] == [True, True]
