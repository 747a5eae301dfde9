"""The tables of docs/performance.md and its picture, made of results."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import document, plot, results
from bench.marks import MarkMissing
from bench.scenarios import SCENARIOS
from bench.targets import judge
from tests.bench import samples

PAGE = """# Words before

<!-- bench targets -->
an old table
<!-- /bench targets -->

<!-- bench machine -->
<!-- /bench machine -->

Words between.

<!-- bench fetching -->
<!-- /bench fetching -->
<!-- bench starting -->
<!-- /bench starting -->

<!-- bench moving -->
not measured this time
<!-- /bench moving -->
Words after.
"""


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page of its own, in the place of the committed files."""
    (tmp_path / "performance.md").write_text(PAGE)
    monkeypatch.setattr(document, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(document, "PICTURE", tmp_path / "performance.svg")
    monkeypatch.setattr(document, "COMMITTED", tmp_path / "results.json")
    return tmp_path


def test_tables_come_between_their_marks_and_words_stay() -> None:
    """What people wrote is theirs, and so is the table of a scenario that was not measured."""
    page = document.filled(PAGE, samples.results())
    for words in ("# Words before", "Words between.", "not measured this time", "Words after."):
        assert words in page
    assert "an old table" not in page
    fetching = page.partition("<!-- bench fetching -->")[2].partition("<!-- /bench fetching -->")[0]
    assert "| 1 | 16 | floor | 10,000 (10,000–10,000) |  | 1.00 | 2.00 | 4.00 | 100 | 20 | 1.00 | 2.00 |" in fetching
    assert "| 1 | 64 | 1 client | 15,000 (15,000–15,000) | 1.50× (1.50–1.50) |" in fetching
    assert "| cold start | 1.4 s |" in page
    assert "- other programs kept 0.02 cores busy meanwhile, at most" in page
    assert "- fetching, starting: 2 cores, Linux 6.18, Python 3.11.7; 2026-11-26, revision `0123abc`" in page


def test_a_worker_that_has_grown_by_serving_is_judged_as_it_is_then() -> None:
    """The largest of all loads counts, and a fresh one beside it."""
    reports = samples.results()
    reports["fetching"]["comparisons"][0]["sides"][1]["worker_megabytes"] = 97
    reports["starting"]["worker_megabytes"] = 80
    found = {verdict.what: (verdict.measured, verdict.met) for verdict in judge(reports)}
    assert found["Memory of a worker, just started"] == ("80 MB", True)
    assert found["Memory of a worker, after the load of fetches"] == ("97 MB", False)


def test_figures_of_a_busy_machine_say_so() -> None:
    """Where they stand, and where the machine is described; the others don't."""
    reports = samples.results()
    assert "**" not in document.filled(PAGE, {"fetching": reports["fetching"]}).replace("**falls short**", "")
    reports["fetching"] = {**reports["fetching"], "taken": {**samples.TAKEN, "others_cores": 0.8}}
    parts = document._parts(reports)
    assert parts["fetching"].startswith("**Not measured on an idle machine: other programs kept 0.80 cores busy")
    assert "idle machine" not in parts["starting"]
    assert parts["machine"].endswith("0.80 cores busy meanwhile, at most\n- **take them with care: fetching**")


def test_filling_a_filled_page_changes_nothing() -> None:
    """Same results, same page."""
    once = document.filled(PAGE, samples.results())
    assert document.filled(once, samples.results()) == once


def test_a_table_without_a_place_is_an_error_and_nothing_is_written(committed: Path) -> None:
    """Otherwise it would silently stay old."""
    (committed / "performance.md").write_text(PAGE.replace("<!-- /bench starting -->", ""))
    before = {file.name: file.read_text() for file in committed.iterdir()}
    with pytest.raises(MarkMissing, match="bench starting"):
        document.renew(samples.results())
    with pytest.raises(MarkMissing, match="bench starting"):
        document.check_marks(["fetching", "starting"])
    assert {file.name: file.read_text() for file in committed.iterdir()} == before


def test_renewing_writes_results_page_and_picture(committed: Path) -> None:
    """And leaves nothing else behind."""
    document.renew(samples.results())
    assert {file.name for file in committed.iterdir()} == {"performance.md", "performance.svg", "results.json"}
    assert results.read(committed / "results.json") == json.loads(json.dumps(samples.results()))
    assert "15,000" in (committed / "performance.md").read_text()


def test_a_target_is_judged_by_the_worst_figure() -> None:
    """One case that falls short is enough."""
    reports = samples.results()
    reports["fetching"]["comparisons"].append(samples.comparison([20_000] * 3, [25_000] * 3, at_once=64))
    verdicts = {verdict.what: verdict for verdict in judge(reports)}
    against_floor = verdicts["Fetch of a fresh token against the floor, one worker, 16 and 64 at once"]
    assert (against_floor.wanted, against_floor.measured, against_floor.met) == ("≥ 1.3×", "1.25×", False)
    assert verdicts["p99 of these fetches as a multiple of their p50"].met
    assert verdicts["Cold start until ready"].met
    assert not verdicts["Memory of a worker, just started"].met
    assert verdicts["Memory of a worker, after the load of fetches"].met
    assert "Redeeming a reference against the floor, 16 and 64 at once" not in verdicts


def test_the_picture_is_well_formed_and_has_a_bar_for_each_side() -> None:
    """Longer where there were more requests; readable where it is dark."""
    picture = plot.draw(samples.results())
    tree = ElementTree.fromstring(picture)  # noqa: S314 - made a line above
    svg = "{http://www.w3.org/2000/svg}"
    bars = [(bar.get("class"), float(bar.get("width") or 0)) for bar in tree.iter(f"{svg}rect")]
    assert [kind for kind, _ in bars] == ["floor", "broker", "floor", "broker"]
    assert bars[1][1] == pytest.approx(1.5 * bars[0][1], abs=0.2)
    assert len(list(tree.iter(f"{svg}circle"))) == 3 * len(bars)
    assert "prefers-color-scheme: dark" in picture


def test_words_that_mean_something_in_xml_are_only_words() -> None:
    """Names of sides are whatever a scenario says."""
    reports = samples.results()
    reports["fetching"]["comparisons"][0]["sides"][1]["name"] = "a < b & c"
    ElementTree.fromstring(plot.draw(reports))  # noqa: S314 - made here


def test_a_picture_without_comparisons_can_be_drawn() -> None:
    """Nothing was compared yet."""
    ElementTree.fromstring(plot.draw({"starting": samples.results()["starting"]}))  # noqa: S314 - made here


def test_every_scenario_has_a_place_in_the_page() -> None:
    """Ten minutes of measuring must not end with a missing mark."""
    document.check_marks(SCENARIOS)


def test_the_committed_page_and_picture_are_those_of_the_committed_results() -> None:
    """Nobody has changed a figure by hand."""
    if measured := results.read(results.COMMITTED):
        assert document.filled(document.PAGE.read_text(), measured) == document.PAGE.read_text()
        assert plot.draw(measured) == document.PICTURE.read_text()
        assert not any(report["taken"]["quick"] for report in measured.values())
