"""What the documents name is there: files and headings, settings, commands, metrics, lines of the log, error codes."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from typer.main import get_command

from broker.cli.application import application
from broker.errors import BrokerError
from broker.observe import metrics
from broker.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for folder in (".", "docs", "deploy") for path in (ROOT / folder).glob("*.md"))
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
SOURCES = "\n".join(path.read_text() for path in (ROOT / "broker").rglob("*.py"))


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _anchors(page: Path) -> set[str]:
    """A page's headings as links name them: in lower case, with hyphens for spaces and without other punctuation."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Each file that is linked is there, and so is the heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", document.read_text())):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = document.parent / path if path else document
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


def test_every_page_is_found_from_the_readme() -> None:
    """Nobody searches folders for what there is to read."""
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


def test_the_settings_are_those_that_there_are() -> None:
    """Every setting has its line in the table, and no line is about one that is gone."""
    named = re.findall(r"^\| (`BROKER_.+?) \|", _page("configuration"), re.MULTILINE)
    assert sorted(re.findall(r"BROKER_(\w+)", " ".join(named))) == sorted(
        name.upper() for name in Settings.model_fields
    )


def _commands(group: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*above, name)) if hasattr(command, "commands") else [(*above, name)]


def test_every_command_is_in_the_table() -> None:
    """By its first word and its second, so that nobody has to guess what there is."""
    cells = re.findall(r"^\| (.+?) \|", _page("configuration").partition("## Commands")[2], re.MULTILINE)
    commands = set(_commands(get_command(application([]))))
    assert len(commands) > 20
    # A word that continues with a hyphen is another one.
    rows = [set(re.findall(r"(?<!-)\b[\w-]+", cell)) for cell in cells]
    assert {words for words in commands if not any(row.issuperset(words) for row in rows)} == set()


def test_the_metrics_are_those_that_there_are() -> None:
    """Every metric has its line, and whatever a page asks of Prometheus is answered."""
    there = dict(re.findall(r"^# TYPE (broker_\w+) (\w+)$", metrics.exposition().decode(), re.MULTILINE))
    shown = {name for name in there if not name.endswith("_created")}
    tables = re.findall(r"^\| (`broker_.+?) \|", _page("operations").partition("Worth an alert")[0], re.MULTILINE)
    listed = set(re.findall(r"broker_\w+", " ".join(tables)))
    assert listed == shown
    parts = {f"{name}_{part}" for name in shown if there[name] == "histogram" for part in ("bucket", "count")}
    named = {name for page in PAGES for name in re.findall(r"\bbroker_\w+", page.read_text())}
    assert named <= shown | parts


def test_the_lines_of_the_log_that_are_explained_are_written() -> None:
    """Who is woken at night searches for what the page says."""
    lines = set(re.findall(r"`([a-z_]+\.[a-z_]+)` in the log", _page("operations")))
    assert len(lines) > 5
    assert {line for line in lines if f'"{line}"' not in SOURCES} == set()


def _kinds(error: type[BrokerError]) -> Iterator[type[BrokerError]]:
    yield error
    yield from chain.from_iterable(map(_kinds, error.__subclasses__()))


def test_the_error_codes_are_those_that_there_are() -> None:
    """With their statuses, as every error of the one tree knows them."""
    table = _page("api").partition("### Errors")[2].partition("### Events")[0]
    rows = re.findall(r"^\| (`.+?) \| (\d+)", table, re.MULTILINE)
    listed = {(code, int(status)) for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}
    assert {(error.code, error.status) for error in _kinds(BrokerError)} <= listed
