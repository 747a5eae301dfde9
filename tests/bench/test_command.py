"""``python -m bench``: what it measures, and when it renews the committed figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import capacity_page, document, results
from bench.results import Results
from bench.rounds import Effort
from bench.wrk import RoundFailed, WrkMissing
from tests.bench import samples

WRITTEN: dict[str, Any] = {"fetching": {"taken": samples.TAKEN, "comparisons": []}}


class House:
    """Stands in the place of measuring and renewing, and notes what was wanted."""

    def __init__(self) -> None:
        self.measured: list[tuple[list[str], bool]] = []
        self.renewed: list[Results] = []
        self.computed: list[Results] = []
        self.fault: BaseException | None = None

    def take(self, names: Sequence[str], effort: Effort) -> Results:
        """Instead of minutes."""
        if self.fault:
            raise self.fault
        self.measured.append((list(names), effort.quick))
        compared = {"comparisons": [samples.comparison([20_000], [30_000])], "figures": {"new": names[0]}}
        known = {"seconds_to_ready": 1.4, "worker_megabytes": 80, "bytes_per_connection": 1_500, "latency_ratio": 1.1}
        return {name: {"taken": samples.TAKEN, **compared, **known} for name in names}

    def renew(self, results: Results) -> None:
        """Instead of the committed files."""
        self.renewed.append(results)

    def compute(self, results: Results) -> None:
        """Instead of the page that computes with them."""
        self.computed.append(results)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> House:
    """One that has measured fetches before."""
    standing = House()
    (tmp_path / "committed.json").write_text(json.dumps(WRITTEN))
    monkeypatch.setattr(results, "COMMITTED", tmp_path / "committed.json")
    monkeypatch.setattr(results, "take", standing.take)
    monkeypatch.setattr(document, "renew", standing.renew)
    monkeypatch.setattr(capacity_page, "renew", standing.compute)
    monkeypatch.setattr(command, "require_wrk", lambda: "wrk")
    return standing


def test_a_full_run_renews_what_is_committed(house: House) -> None:
    """All of it, but what is measured only when it is named stays as it was."""
    assert command.main([]) == 0
    ((names, quick),) = house.measured
    assert {"fetching", "million"} <= set(names)
    assert not {"moving", "authentication"} & set(names)
    assert not quick
    assert [set(renewed) for renewed in house.renewed] == [set(names)]
    assert [set(computed) for computed in house.computed] == [set(names)]


@pytest.mark.parametrize("words", [["quick"], ["fetching"], ["fetching", "quick"], ["--results", "somewhere"]])
def test_other_runs_renew_nothing(
    house: House, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They print tables, or write a file that was named."""
    file = tmp_path / "somewhere"
    assert command.main([str(file) if word == "somewhere" else word for word in words]) == 0
    assert house.renewed == []
    ((names, quick),) = house.measured
    printed = capsys.readouterr().out
    if file.exists():
        assert list(json.loads(file.read_text())) == names
        assert printed == ""
    else:
        assert [name for name in names if f"## {name}\n\n| workers | at once |" not in printed] == []
    assert quick == ("quick" in words)


def test_a_scenario_can_renew_its_own_figures(house: House) -> None:
    """The others keep theirs."""
    assert command.main(["moving", "--renew"]) == 0
    (renewed,) = house.renewed
    assert renewed["fetching"] == WRITTEN["fetching"]
    assert renewed["moving"]["figures"] == {"new": "moving"}


def test_a_quick_run_cant_renew(house: House) -> None:
    """Its rounds are too short to be believed."""
    assert command.main(["quick", "--renew"]) == 2
    assert house.measured == []


@pytest.mark.parametrize("fault", [RoundFailed("7 times 503"), WrkMissing()], ids=["a failed round", "no wrk"])
def test_a_run_that_fails_says_why_and_renews_nothing(
    house: House, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says so, too."""
    house.fault = fault
    assert command.main([]) == 1
    assert str(fault) in capsys.readouterr().err
    assert house.renewed == []


def test_an_interrupted_run_renews_nothing(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and ends as the signal would have ended it."""
    house.fault = KeyboardInterrupt()
    assert command.main([]) == 130
    assert "nothing was renewed" in capsys.readouterr().err
    assert house.renewed == []


def test_an_unknown_scenario_is_refused_with_the_known_ones(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured."""
    with pytest.raises(SystemExit) as ended:
        command.main(["fetch"])
    assert ended.value.code == 2
    assert "known are fetching, redeeming" in capsys.readouterr().err
    assert house.measured == []


def test_the_scenarios_can_be_listed(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """With a line about each."""
    assert command.main(["--list"]) == 0
    assert "proxying        the proxy" in capsys.readouterr().out
    assert house.measured == []
